"""The pages of an organisation that has nothing yet: each list says what to do."""

import pytest
from django.test import Client

from tests.factories import MembershipFactory, UserFactory, WorkflowFactory
from tests.policy import POLICY

pytestmark = pytest.mark.django_db

_FORM = "a form, which is the next thing to do"
_FULL = "never empty"
# Pages without an empty list, by the reason.
OTHERS = {
    "app/": "leads to a list",
    "app/orgs/": "has the organisation of the test",
    "app/orgs/<ident:org>/workflows/": "has the workflow of the test",
    "app/users/notifications/settings/": "has the organisation of the test",
    "app/users/profile/": _FORM,
    "app/users/data/": _FORM,
    "app/users/delete/": "asks for the password first",
    "app/orgs/<ident:org>/new-workflow/": _FORM,
    "app/orgs/<ident:org>/import-workflow/": _FORM,
    "app/orgs/<ident:org>/settings/": _FORM,
    "app/orgs/<ident:org>/settings/roles/": _FULL,
    "app/orgs/<ident:org>/settings/members/": _FULL,
    "app/orgs/<ident:org>/settings/projects/": _FULL,
    "app/orgs/<ident:org>/settings/ai/": _FORM,
    "app/orgs/<ident:org>/notifications/": _FORM,
    "app/orgs/<ident:org>/workflows/<ident:slug>/edit/": _FORM,
    "app/orgs/<ident:org>/workflows/<ident:slug>/sharing/": _FORM,
    "app/orgs/<ident:org>/workflows/<ident:slug>/versions/": _FULL,
    "app/orgs/<ident:org>/workflows/<ident:slug>/versions/compare/": _FULL,
}
_NO_PAGES = ("/export/", "/csv/", "/text/", "/bundle/", "/validators/office/")


def test_every_list_without_entries_says_what_to_do(client: Client) -> None:
    owner = MembershipFactory.create(organisation__slug="acme")
    WorkflowFactory.create(organisation=owner.organisation, slug="office")
    client.force_login(owner.user)
    without = set()
    for pattern, rules in POLICY.items():
        if not pattern.startswith("app/") or not {"GET", "*"} & rules.keys():
            continue
        path = pattern.replace("<ident:org>", "acme").replace("<ident:slug>", "office")
        path = path.replace("/<version:version>/", "/1/")
        if "<" in path or any(part in path for part in _NO_PAGES):
            continue
        if b'class="card empty"' not in client.get(f"/{path}").content:
            without.add(pattern)

    assert without == set(OTHERS)


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("orgs/", "No organisation"),
        ("orgs/acme/workflows/", "No workflows yet"),
        ("orgs/acme/workflows/?archived=1", "No archived workflows"),
    ],
)
def test_lists_without_entries_are_named(client: Client, path: str, title: str) -> None:
    member = MembershipFactory.create(organisation__slug="acme").user
    client.force_login(UserFactory.create() if path == "orgs/" else member)

    assert title in client.get(f"/app/{path}").content.decode()
