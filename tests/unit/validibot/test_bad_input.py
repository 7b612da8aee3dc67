"""Every form of the site with values that no browser sends: no error page, and a message."""

import datetime as dt
import io
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import quote_from_bytes, quote_plus, urljoin

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from lxml import html
from pytest_django import Settings

from tests.factories import MembershipFactory, UserFactory
from tests.policy import POLICY, all_routes
from tests.policy_world import PolicyWorld
from validibot.workflows import links
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db

# Nothing; a number that is too long, and of nobody; and what databases, lists and eyes take wrongly:
# NUL, text that is turned around, an umlaut of two characters, and a lone surrogate.
BAD_VALUES = {
    "missing": None,
    "long number": b"9" * 70_000,
    "trick": "a\0\u202eu\u0308".encode() + b"\xed\xa0\x80",
}
_ENCODED = "application/x-www-form-urlencoded"
_MESSAGES = ("errorlist", 'role="alert"', 'class="message')


@dataclass(frozen=True, slots=True)
class PageForm:
    """A form as a page has it: where it is sent, and its fields."""

    action: str
    fields: frozenset[str]
    client: Client

    def body(self, value: bytes | None) -> bytes:
        """Return the form as a browser encodes it, with a bad value in all fields."""
        if value is None:
            return b""
        sent = quote_from_bytes(value)
        return "&".join(f"{quote_plus(name)}={sent}" for name in self.fields).encode()


@pytest.fixture(autouse=True)
def _quiet(settings: Settings) -> Iterator[None]:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def forms_of(client: Client, path: str) -> Iterator[PageForm]:
    """Yield the forms of a page that are posted and have fields."""
    answer = client.get(path)
    if answer.status_code != 200 or "html" not in answer.headers["Content-Type"]:
        return
    parsed: Any = html.document_fromstring(answer.content)
    for form in parsed.forms:
        names = {each.name for each in form.inputs if each.name and each.get("type") != "file"}
        names.discard("csrfmiddlewaretoken")
        if form.method == "POST" and names:
            action = urljoin(path, form.action or path)
            yield PageForm(action.split("#")[0], frozenset(names), client)


def site_forms() -> list[PageForm]:
    """Return all forms of the site, each once."""
    world = PolicyWorld()
    workflow = Workflow.objects.get(slug=world.workflow)
    _, launch = links.create(
        workflow, user=world.owner, name="B", lifetime=dt.timedelta(days=1), max_launches=5
    )
    world.ids["launch"] = launch
    member, operator, visitor = Client(), Client(), Client()
    member.force_login(world.owner)
    operator.force_login(UserFactory.create(is_superuser=True, is_staff=True))
    found: dict[tuple[str, frozenset[str]], PageForm] = {}
    for client, path in [*_pages(world, member), *_libraries(member, operator, visitor)]:
        client.raise_request_exception = False
        for form in forms_of(client, path):
            found.setdefault((form.action, form.fields), form)
    return list(found.values())


def _pages(world: PolicyWorld, member: Client) -> Iterator[tuple[Client, str]]:
    for route in all_routes():
        is_page = route.pattern.startswith(("app/", "launch/", "support/", "waitlist/"))
        if is_page and {"GET", "*"} & set(POLICY[route.pattern]):
            yield member, world.path(route.pattern)


def _libraries(member: Client, operator: Client, visitor: Client) -> Iterator[tuple[Client, str]]:
    for route in all_routes():
        if (
            route.library
            and "oidc" not in route.pattern
            and "<" not in route.pattern
            and "?P" not in route.pattern
        ):
            client = operator if route.pattern.startswith("admin/") else member
            yield client, f"/{route.pattern}".replace("^", "").replace("$", "")
            if not route.pattern.startswith("admin/"):
                yield visitor, f"/{route.pattern}"


def fault(form: PageForm, label: str) -> str:
    """Return what is wrong with the answer to a bad value, or an empty text."""
    with transaction.atomic():
        body = form.body(BAD_VALUES[label])
        answer = form.client.post(form.action, body, content_type=_ENCODED)
        transaction.set_rollback(True)
    status, text = answer.status_code, answer.content.decode(errors="replace")
    is_refused = 400 <= status < 500 and "html" in answer.headers["Content-Type"]
    if status < 500 and not (is_refused and not any(mark in text for mark in _MESSAGES)):
        return ""
    return f"{form.action} answers {status} to {label!r} in its fields"


def test_no_form_fails_at_bad_values_or_refuses_them_without_message() -> None:
    forms = site_forms()
    wrong = [
        found
        for form in forms
        for label in (("trick",) if form.action.startswith("/admin/") else BAD_VALUES)
        if (found := fault(form, label))
    ]

    assert len(forms) > 50  # the walk finds them
    assert "\n".join(wrong) == ""


def archive(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"name: " + b"x" * (10 << 20), "The document has 10485766 bytes; at most 8388608"),
        (archive("report.csv", b"a,b"), "The zip file has no workflow.yaml at its top."),
        (b"PK\x03\x04 and nothing more", "The zip file cannot be read"),
        (b"\xff\xfe\0\0\xed\xa0\x80", "UTF-8"),
    ],
    ids=["10 MB", "zip of something else", "damaged zip", "no text"],
)
def test_import_of_no_workflow_file_says_why(client: Client, content: bytes, problem: str) -> None:
    owner = MembershipFactory.create(organisation__slug="acme").user
    client.force_login(owner)

    file = SimpleUploadedFile("workflow.yaml", content)
    answer = client.post("/app/orgs/acme/import-workflow/", {"file": file})

    assert answer.status_code == 422
    assert problem in unescape(answer.content.decode())


def test_names_that_look_alike_are_duplicates(client: Client) -> None:
    """An accent of its own, and an invisible one, make no other name."""
    owner = MembershipFactory.create(organisation__slug="acme").user
    client.force_login(owner)
    projects = "/app/orgs/acme/settings/projects/"
    client.post(projects, {"name": "\u00e9cole", "colour": "teal"})

    for name in ("e\u0301cole", "\u00e9cole\u200b"):
        answer = client.post(projects, {"name": name, "colour": "teal"})
        assert answer.status_code == 422
        assert "\u00e9cole" in answer.content.decode()
    client.post("/app/orgs/acme/new-workflow/", {"name": "Office\u202e \u2067model"})
    assert Workflow.objects.get().name == "Office model"


@pytest.mark.parametrize("credential", ["9" * 5000, "[" * 100_000, "[]", "null"])
def test_passkey_that_is_none_is_refused(client: Client, credential: str) -> None:
    answer = client.post("/accounts/2fa/webauthn/login/", {"credential": credential})

    assert answer.status_code < 400
