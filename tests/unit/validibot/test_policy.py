"""Every route answers every role, guest, stranger and key as the policy table says."""

import datetime as dt
import io
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.factories import (
    ApiKeyFactory,
    ArtifactFactory,
    MembershipFactory,
    OrganisationFactory,
    ProjectFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
    UserFactory,
    ValidatorFactory,
)
from tests.policy import (
    ANYONE,
    API_KEY,
    LAUNCH,
    OWN_KEYS,
    POLICY,
    PUBLIC_ACCOUNT_PAGES,
    QUEUE,
    SIGNED_IN,
    Route,
    RouteRule,
    all_routes,
)
from validibot.accounts import api_keys, invitations
from validibot.accounts.models import ApiKey, Role, User, WorkflowGrant
from validibot.accounts.scope import GUEST_PERMISSIONS, KEY_PERMISSIONS, PERMISSIONS, Scope
from validibot.core.storage import get_storage
from validibot.runs.models import Run
from validibot.webhooks.models import Webhook, WebhookDelivery
from validibot.workflows import links, schedules
from validibot.workflows.models import Step, Workflow

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PLACEHOLDER = re.compile(r"([\w-]+)/<\w+:\w+>")
_LIBRARY_PLACEHOLDER = re.compile(r"\(\?P<\w+>[^)]*\)|<(?:\w+:)?\w+>")
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[None]:
    """Log nothing of thousands of requests, look for no static files, and stay in one thread.

    The stream would not see what the connection of the test wrote.
    """
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    monkeypatch.setattr("validibot.web.stream.in_thread", sync_to_async)
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls a route: a browser's session or an API key.

    `permissions` are those in the organisation, None for who is neither member nor guest there.
    """

    name: str
    client: Client = field(default_factory=Client)
    headers: dict[str, str] = field(default_factory=dict)
    signed_in: bool = True
    permissions: frozenset[str] | None = None
    sees_workflow: bool = True


_TOKENS = ("featured", "invitations", "shared", "launch", "unsubscribe", "waitlist")


class World:
    """An organisation with a workflow and a run of its owner, and people around it."""

    def __init__(self) -> None:
        self.owner = MembershipFactory.create(organisation__slug="acme").user
        self.acme = self.owner.organisations.get()
        step = StepFactory.create(workflow__organisation=self.acme)
        run = RunFactory.create(workflow=step.workflow, user=self.owner)
        sample = step.workflow.samples.create(filename="a.json", content=b"{}", passes=True)
        self.workflow = step.workflow.slug
        guest, member = self._guest(self.workflow), self._member(Role.VIEWER)
        owner = Scope.of_member(self.owner, self.acme, Role.OWNER)
        invited = invitations.invite(owner, "ada@example.org", role=Role.VIEWER)
        service_key, _ = api_keys.issue_for_service(
            self.acme, "CI", role=Role.VIEWER, scopes=["read"], lifetime=api_keys.LIFETIME
        )
        delivery = self._delivery()
        # Its page has the slug where the editor has the primary key.
        validator = ValidatorFactory.create(
            pk=987_654_321, slug="987654321", engine="tabular", organisation=self.acme
        )
        # The ids in paths, by the segment before them.
        self.ids: dict[str, Any] = {
            "orgs": "acme",
            **dict.fromkeys(("views", "sessions", "notifications"), 0),
            "workflows": self.workflow,
            "versions": 1,
            "validators": validator.pk,
            "samples": sample.pk,
            "runs": run.pk,
            "compare": run.pk,
            "files": 0,
            "export": "csv",
            "webhooks": delivery.webhook_id,
            "deliveries": delivery.pk,
            "steps": 1,
            "artifacts": self._artifact(run, step),
            "api-key": ApiKeyFactory.create().pk,
            "members": self.acme.memberships.get(user=member).pk,
            "invited": invited.pk,
            "guests": guest.pk,
            "projects": ProjectFactory.create(organisation=self.acme).pk,
            "keys": service_key.pk,
            "submissions": run.submission_id,
            **dict.fromkeys(_TOKENS, "wrong"),
            "shares": run.shares.create(token_digest="", expires_at=timezone.now()).pk,
            "links": self._link(step.workflow),
            "trials": RunFactory.create(workflow=step.workflow, source="TRIAL").pk,
            "schedules": self._schedule(step.workflow),
        }

    def _artifact(self, run: Run, step: Step) -> int:
        uri = f"{settings.DATA_ROOT}/runs/{run.pk}/report.csv"
        stored = get_storage(uri).create(uri, io.BytesIO(b"a,b"), mime_type="text/csv")
        made = ArtifactFactory.create(
            step_run=StepRunFactory.create(run=run, step=step),
            uri=stored.uri,
            storage_version=stored.version,
            mime_type="text/html",
            size_bytes=3,
        )
        return made.pk

    def _link(self, workflow: Workflow) -> int:
        day = dt.timedelta(days=1)
        made = links.create(workflow, user=self.owner, name="A", lifetime=day, max_launches=5)
        return made[0].pk

    def _schedule(self, workflow: Workflow) -> int:
        times = {"name": "A", "cron": "0 2 * * *", "time_zone": "UTC", "url": "https://example.org"}
        return schedules.create(workflow, user=self.owner, file=None, metadata={}, **times).pk

    def _delivery(self) -> WebhookDelivery:
        webhook = Webhook.objects.create(
            organisation=self.acme, name="Chat", url="https://hooks.example.org"
        )
        delivery = WebhookDelivery.of(webhook, "run.failed", {})
        delivery.save()
        return delivery

    def path(self, pattern: str) -> str:
        """Return a path that the pattern matches, of the objects of this organisation."""

        def value(found: re.Match[str]) -> str:
            return f"{found[1]}/{self.ids[found[1]]}"

        path = "/" + _PLACEHOLDER.sub(value, pattern)
        # The kinds of an export differ: findings of runs, and workflows.
        return path.replace("csv", "yaml") if "/workflows/" in path else path

    def people(self) -> Iterator[Caller]:
        """Yield the callers of pages: sessions."""
        yield Caller("anonymous", signed_in=False)
        yield self._session("stranger", MembershipFactory.create().user)
        for role, permissions in PERMISSIONS.items():
            yield self._session(role, self._member(role), permissions)
        yield self._session("guest", self._guest(self.workflow), GUEST_PERMISSIONS | {LAUNCH})
        other = self._session("guest of another", self._guest("other"), GUEST_PERMISSIONS)
        yield replace(other, sees_workflow=False)

    def programs(self) -> Iterator[Caller]:
        """Yield the callers of the API: the same people by their keys, narrower and service keys."""
        yield Caller("no key", signed_in=False)
        yield self._key("key of stranger", MembershipFactory.create().user)
        for role, permissions in PERMISSIONS.items():
            yield self._key(f"key of {role}", self._member(role), permissions)
        yield self._key("key of guest", self._guest(self.workflow), GUEST_PERMISSIONS | {LAUNCH})
        for scope, allowed in KEY_PERMISSIONS.items():
            admin, permissions = self._member(Role.ADMIN), PERMISSIONS[Role.ADMIN] & allowed
            yield self._key(f"{scope} key of admin", admin, permissions, scopes=scope)
        service = UserFactory.create(service_of=self.acme)
        MembershipFactory.create(organisation=self.acme, user=service, role=Role.AUTHOR)
        yield self._key("service key", service, PERMISSIONS[Role.AUTHOR])

    def _session(self, name: str, user: User, permissions: frozenset[str] | None = None) -> Caller:
        caller = Caller(name, permissions=permissions)
        caller.client.force_login(user)
        # The session notes its use and the organisation once; a call that is undone would each time.
        caller.client.get("/app/orgs/acme/runs/")
        return caller

    def _key(
        self,
        name: str,
        user: User,
        permissions: frozenset[str] | None = None,
        *,
        scopes: str = "read launch manage",
    ) -> Caller:
        key, text = api_keys.issue(user, name)
        ApiKey.objects.filter(pk=key.pk).update(scopes=scopes)
        return Caller(name, headers={"Authorization": f"Bearer {text}"}, permissions=permissions)

    def _member(self, role: str) -> User:
        user: User = MembershipFactory.create(organisation=self.acme, role=role).user
        return user

    def _guest(self, workflow: str) -> User:
        guest: User = UserFactory.create()
        WorkflowGrant.objects.create(
            organisation=self.acme, user=guest, workflow=workflow, access="launch"
        )
        return guest


def call(caller: Caller, method: str, path: str) -> Any:
    """Return the answer of a request, which leaves nothing behind."""
    with transaction.atomic():
        answer = caller.client.generic(method, path, headers=caller.headers)
        transaction.set_rollback(True)
    return answer


def expected(route: Route, rule: str | RouteRule, caller: Caller) -> int:
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


def fault(route: Route, method: str, caller: Caller, path: str) -> str:
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


def faults(routes: list[Route], world: World, callers: list[Caller]) -> str:
    """Return all deviations by line; methods that a route does not take are tried by its owner only."""
    owners = [each for each in callers if each.name in ("owner", "key of owner")]
    return "\n".join(
        found
        for route in routes
        for method in METHODS
        for caller in (callers if {method, "*"} & set(POLICY[route.pattern]) else owners)
        if (found := fault(route, method, caller, world.path(route.pattern)))
    )


def routes_of(*starts: str) -> list[Route]:
    return [each for each in all_routes() if each.pattern.startswith(starts)]


def test_pages_answer_each_role_as_the_policy_says() -> None:
    world = World()

    assert faults(routes_of("app/", "invitations/", "launch/"), world, list(world.people())) == ""


def test_api_answers_each_role_and_key_as_the_policy_says() -> None:
    world = World()

    assert faults(routes_of("api/"), world, list(world.programs())) == ""


def test_objects_of_others_are_not_found_in_own_organisation() -> None:
    """The ids of one organisation below the address of another, whose owner asks."""
    world = World()
    mine = MembershipFactory.create(organisation=OrganisationFactory.create(slug="mine"))
    caller = Caller("owner of another", permissions=PERMISSIONS[Role.OWNER])
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
    world = World()
    anonymous, owner = Caller("anonymous", signed_in=False), world._session("owner", world.owner)
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
    world = World()
    viewer = next(each for each in world.programs() if each.name == "key of viewer")

    assert call(viewer, "GET", "/api/v1/orgs/acme/runs/").json()["results"] == []


def test_foreign_api_key_cannot_be_revoked(client: Client) -> None:
    key = ApiKeyFactory.create()
    client.force_login(UserFactory.create())
    client.post(f"/app/users/api-key/{key.pk}/revoke/")

    assert ApiKey.objects.get().revoked_at is None


def test_form_without_csrf_token_is_refused() -> None:
    world = World()
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.owner)

    answer = client.post(f"/app/orgs/acme/runs/{world.ids['runs']}/cancel/")

    assert (answer.status_code, Run.objects.filter(status="CANCELED").exists()) == (403, False)


def test_pages_send_a_content_security_policy(client: Client) -> None:
    client.force_login(World().owner)
    answer = client.get("/app/orgs/acme/runs/")

    policy = answer.headers["Content-Security-Policy"]
    assert {"default-src 'self'", "form-action 'self'", "frame-ancestors 'none'"} <= set(
        policy.split("; ")
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
