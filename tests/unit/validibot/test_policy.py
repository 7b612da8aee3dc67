"""Every route answers every role, guest, stranger and key as the policy table says."""

import logging
import re
from collections.abc import Iterator
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.template.backends.django import Template
from django.test import Client
from django.utils.safestring import SafeString
from pytest_django import Settings

from tests.factories import (
    ApiKeyFactory,
    MembershipFactory,
    OrganisationFactory,
    UserFactory,
)
from tests.policy import (
    ANYONE,
    API_KEY,
    OWN_KEYS,
    POLICY,
    PUBLIC_ACCOUNT_PAGES,
    QUEUE,
    SIGNED_IN,
    Methods,
    Route,
    RouteRule,
    all_routes,
)
from tests.policy_world import PolicyCaller, PolicyWorld
from validibot.accounts.models import ApiKey, Role
from validibot.accounts.scope import PERMISSIONS
from validibot.runs.models import Run

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_LIBRARY_PLACEHOLDER = re.compile(r"\(\?P<\w+>[^)]*\)|<(?:\w+:)?\w+>")
_RENDERS = ContextVar("whether templates are rendered", default=True)
_READERS = ("anonymous", "owner", Role.VIEWER)
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[None]:
    """Log nothing of thousands of requests, look for no static files, and stay in one thread.

    The stream would not see what the connection of the test wrote. Pages are rendered for the callers
    who see most and least of them: most of the time would go into the same pages for the others.
    """
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    monkeypatch.setattr("validibot.web.stream.in_thread", sync_to_async)
    render = Template.render
    monkeypatch.setattr(
        Template,
        "render",
        lambda *given, **named: render(*given, **named) if _RENDERS.get() else SafeString(),
    )
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def call(caller: PolicyCaller, method: str, path: str) -> Any:
    """Return the answer of a request, which leaves nothing behind."""
    token = _RENDERS.set(caller.name in _READERS)
    try:
        with transaction.atomic():
            answer = caller.client.generic(method, path, headers=caller.headers)
            transaction.set_rollback(True)
    finally:
        _RENDERS.reset(token)
    return answer


def expected(route: Route, rule: str | RouteRule, caller: PolicyCaller) -> int:
    """Return the status of a refusal, or 0 if the caller is let in."""
    is_api = route.pattern.startswith("api/")
    if not caller.signed_in and rule != ANYONE:
        return HTTPStatus.UNAUTHORIZED if is_api else HTTPStatus.FOUND
    if rule in (ANYONE, SIGNED_IN, API_KEY, OWN_KEYS):
        return HTTPStatus.UNAUTHORIZED if rule == API_KEY and not caller.headers else 0
    rule = RouteRule(rule) if isinstance(rule, str) else rule
    has = caller.permissions
    if has is None or (rule.sees and rule.sees not in has):
        return HTTPStatus.FORBIDDEN if has and "run.view_own" not in has else HTTPStatus.NOT_FOUND
    if not caller.sees_workflow and "workflows/<" in route.pattern:
        return HTTPStatus.NOT_FOUND
    return 0 if rule.needs in has else HTTPStatus.FORBIDDEN


def fault(route: Route, method: str, caller: PolicyCaller, path: str) -> str:
    """Return how the answer differs from the policy, or an empty text."""
    rules = POLICY[route.pattern]
    rule = rules.get(method) or rules.get("*")
    answer = call(caller, method, path)
    status, to_login = answer.status_code, "/accounts/login/" in answer.headers.get("Location", "")
    if rule is None:
        is_right, wanted = status == HTTPStatus.METHOD_NOT_ALLOWED, "405"
    elif (refusal := expected(route, rule, caller)) == HTTPStatus.FOUND:
        is_right, wanted = to_login or status == HTTPStatus.NOT_FOUND, "the sign-in page"
    elif refusal:
        is_right, wanted = status == refusal, str(refusal)
    elif rule in (ANYONE, OWN_KEYS) or (rule == SIGNED_IN and "<" in route.pattern):
        # The thing does not exist, or is another user's.
        is_right, wanted = status != HTTPStatus.METHOD_NOT_ALLOWED, "an answer"
    else:
        is_right = status not in {*_REFUSED, HTTPStatus.METHOD_NOT_ALLOWED} and not to_login
        wanted = "what is allowed"
    if is_right and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return ""
    return f"{caller.name}: {method} {path} answers {status}, not {wanted}"


def faults(routes: list[Route], world: PolicyWorld, callers: list[PolicyCaller]) -> str:
    """Return all deviations by line.

    Methods that a route does not take are tried by its owner only, and routes that need no account by
    the owner and by who has none.
    """
    owners = [each for each in callers if each.name in ("owner", "key of owner")]
    without_account = [each for each in callers if not each.signed_in]

    def tried(rules: Methods, method: str) -> list[PolicyCaller]:
        if not {method, "*"} & set(rules):
            return owners
        return owners + without_account if ANYONE in rules.values() else callers

    return "\n".join(
        found
        for route in routes
        for method in METHODS
        for caller in tried(POLICY[route.pattern], method)
        if (found := fault(route, method, caller, world.path(route.pattern)))
    )


def routes_of(*starts: str) -> list[Route]:
    return [each for each in all_routes() if each.pattern.startswith(starts)]


def test_pages_answer_each_role_as_the_policy_says() -> None:
    world = PolicyWorld()

    assert faults(routes_of("app/", "invitations/", "launch/"), world, list(world.people())) == ""


def test_api_answers_each_role_and_key_as_the_policy_says() -> None:
    world = PolicyWorld()

    assert faults(routes_of("api/"), world, list(world.programs())) == ""


def test_objects_of_others_are_not_found_in_own_organisation() -> None:
    """The ids of one organisation below the address of another, whose owner asks."""
    world = PolicyWorld()
    mine = MembershipFactory.create(organisation=OrganisationFactory.create(slug="mine"))
    caller = PolicyCaller("owner of another", permissions=PERMISSIONS[Role.OWNER])
    caller.client.force_login(mine.user)
    wrong = []
    for route in routes_of("app/orgs/", "api/v1/orgs/"):
        if route.pattern.count("<") < 2:
            continue
        path = world.path(route.pattern).replace("/acme/", "/mine/")
        for method in POLICY[route.pattern]:
            if method == "PUT":  # creates what does not exist
                continue
            status = call(caller, "GET" if method == "*" else method, path).status_code
            if status != HTTPStatus.NOT_FOUND:
                wrong.append(f"{method} {path} answers {status}, not 404")

    assert "\n".join(wrong) == ""


def test_account_pages_ask_for_sign_in_and_admin_for_staff() -> None:
    world = PolicyWorld()
    anonymous, owner = (
        PolicyCaller("anonymous", signed_in=False),
        world.session("owner", world.owner),
    )
    wrong = []
    for route in (each for each in all_routes() if each.library):
        is_public = route.name in PUBLIC_ACCOUNT_PAGES
        path = "/" + re.sub(r"[$^]", "", _LIBRARY_PLACEHOLDER.sub("1", route.pattern))
        for caller in (anonymous, owner):
            answer = call(caller, "GET", path)
            is_moved = answer.status_code == HTTPStatus.MOVED_PERMANENTLY
            to_login = is_moved or "/login/" in answer.headers.get("Location", "")
            may = is_public or (caller is owner and route.library == SIGNED_IN)
            if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or not (may or to_login):
                wrong.append(f"{caller.name}: {path} answers {answer.status_code}")

    assert "\n".join(wrong) == ""


@pytest.mark.parametrize(
    "path", [each for each, rules in POLICY.items() if QUEUE in rules.values()]
)
def test_worker_routes_refuse_users(path: str, settings: Settings) -> None:
    settings.ROOT_URLCONF = "config.urls_worker"
    client = Client()
    client.force_login(UserFactory.create(is_superuser=True))

    assert client.post(f"/{path}", "{}", "application/json").status_code in (400, 401, 403)
    assert client.get(f"/{path}").status_code == HTTPStatus.METHOD_NOT_ALLOWED


def test_runs_of_others_are_not_listed_for_viewer() -> None:
    world = PolicyWorld()
    viewer = next(each for each in world.programs() if each.name == "key of viewer")

    assert call(viewer, "GET", "/api/v1/orgs/acme/runs/").json()["results"] == []


def test_foreign_api_key_cannot_be_revoked(client: Client) -> None:
    key = ApiKeyFactory.create()
    client.force_login(UserFactory.create())
    client.post(f"/app/users/api-key/{key.pk}/revoke/")

    assert ApiKey.objects.get().revoked_at is None


def test_form_without_csrf_token_is_refused() -> None:
    world = PolicyWorld()
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.owner)

    answer = client.post(f"/app/orgs/acme/runs/{world.ids['runs']}/cancel/")

    assert (answer.status_code, Run.objects.filter(status="CANCELED").exists()) == (403, False)


def test_pages_send_a_content_security_policy(client: Client) -> None:
    client.force_login(PolicyWorld().owner)
    answer = client.get("/app/orgs/acme/runs/")

    policy = answer.headers["Content-Security-Policy"]
    assert {"default-src 'self'", "form-action 'self'", "frame-ancestors 'none'"} <= set(
        policy.split("; ")
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
