"""Usage of credits: its groups, its exports, its page, and its API."""

import datetime as dt
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from tests.factories import MembershipFactory, UserFactory
from tests.unit.validibot.api.conftest import Api
from validibot.accounts.models import Membership, Role, User
from validibot.accounts.scope import Scope
from validibot.credits import ledger
from validibot.credits.models import LedgerEntry
from validibot.credits.usage import (
    entries_between,
    usage_by,
    usage_by_all,
    write_ledger,
    write_usage,
)
from validibot.dashboards.models import DailyFigures

pytestmark = pytest.mark.django_db
RUN = UUID("00000000-0000-4000-8000-000000000001")


def used(
    member: Membership, amount: int, day: str, *, user: User | None = None, **more: Any
) -> None:
    fields = {"workflow": "people", "validator": "json-schema", "run": uuid4(), "step": 1} | more
    at = dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")
    LedgerEntry.objects.create(
        organisation=member.organisation, kind="SETTLE", amount=amount, at=at, user=user, **fields
    )


@pytest.fixture
def ada() -> User:
    return UserFactory.create(email="ada@example.org")


@pytest.fixture
def member(client: Client, ada: User) -> Membership:
    """An analytics viewer, signed in, of an organisation that has used 9 credits."""
    member = MembershipFactory.create(user=ada, role=Role.ANALYTICS_VIEWER)
    client.force_login(ada)
    used(member, 1, "2026-01-31", user=ada)
    used(member, 3, "2026-02-01", user=ada, workflow="=cmd()", run=RUN)
    used(member, 5, "2026-02-28", validator="fmu")
    used(MembershipFactory.create(), 7, "2026-02-02")
    return member


@pytest.mark.parametrize(
    ("group", "rows"),
    [
        ("month", [("2026-01", 1, 1), ("2026-02", 2, 8)]),
        ("workflow", [("people", 2, 6), ("=cmd()", 1, 3)]),
        ("validator", [("fmu", 1, 5), ("json-schema", 2, 4)]),
        ("person", [("", 1, 5), ("ada@example.org", 2, 4)]),
    ],
)
def test_usage_is_summed_by_group(
    member: Membership, group: str, rows: list[tuple[str, int, int]]
) -> None:
    found = usage_by(group, entries_between(member.organisation, None, None))
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    together = usage_by_all(member.organisation, begin, begin + dt.timedelta(days=90))

    assert [(row.name, row.steps, row.credits) for row in found] == rows
    assert together[group] == found


def test_usage_without_limit_is_that_of_the_days(client: Client, member: Membership) -> None:
    figures = {"day": dt.date(2026, 2, 3), "organisation": member.organisation}
    for kind, key in (("organisation", ""), ("workflow", "roofs"), ("validator", "fmu")):
        DailyFigures.objects.create(kind=kind, key=key, passed=30, canceled=4, **figures)
    url = f"/app/orgs/{member.organisation.slug}/settings/credits/?before=2026-03-01"

    shown = client.get(url).context["uncharged"]

    assert [rows for _, _, rows in shown] == [[("2026-02", 34)], [("roofs", 34)], [("fmu", 34)]]


def scope_as(member: Membership, role: str) -> Scope:
    return Scope.of_member(member.user, member.organisation, role)


def test_exports_have_no_formula(member: Membership) -> None:
    entries, author = entries_between(member.organisation, None, None), scope_as(member, "author")

    assert b"".join(write_usage(entries, author)).decode().splitlines() == [
        "month,workflow,validator,person,steps,credits",
        "2026-01,people,json-schema,ada@example.org,1,1",
        "2026-02,'=cmd(),json-schema,ada@example.org,1,3",
        "2026-02,people,fmu,,1,5",
    ]
    lines = b"".join(write_ledger(entries, author)).decode().splitlines()
    assert lines[2].endswith(f"SETTLE,3,{RUN},1,'=cmd(),json-schema,ada@example.org,")


def test_people_are_shown_only_with_the_runs_of_all(client: Client, member: Membership) -> None:
    entries, viewer = (
        entries_between(member.organisation, None, None),
        scope_as(member, "analytics_viewer"),
    )
    api, path = Api(member.user), f"orgs/{member.organisation.slug}/credits"
    page = client.get(
        f"/app/orgs/{member.organisation.slug}/settings/credits/?before=2026-03-01"
    ).content.decode()

    assert b"ada@" not in b"".join([*write_usage(entries, viewer), *write_ledger(entries, viewer)])
    assert {each["person"] for each in api.get(f"{path}/ledger/").json()["results"]} == {""}
    assert api.get(f"{path}/usage/?by=person").status_code == 403
    assert page.count("ada@example.org") == 1  # in the menu of the account


def test_page_shows_the_range_of_its_address(client: Client, member: Membership) -> None:
    url = f"/app/orgs/{member.organisation.slug}/settings/credits/"

    whole = client.get(f"{url}?after=2026-01-01&before=2026-03-01").content.decode()
    part = client.get(f"{url}?after=2026-02-01&before=2026-02-28").content.decode()
    export = client.get(f"{url}export/usage/?after=2026-02-01&before=2026-02-28")
    Membership.objects.filter(pk=member.pk).update(role=Role.AUTHOR)
    linked = client.get(f"{url}?after=2026-02-01&before=2026-02-28").content.decode()

    assert "9 credits were used in this range." in whole
    assert "This organisation has no limit" in whole
    assert "3 credits were used in this range." in part
    link = f'href="/app/orgs/{member.organisation.slug}/runs/{RUN}/"'
    assert (link in part, link in linked) == (False, True)
    assert "usage.csv" in export.headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("after=2026-03-01&before=2026-03-01", "is no range of 1 to 1098 days"),
        ("after=1900-01-01", "is no range of 1 to 1098 days"),
        ("before=0001-01-01", "is no range of 1 to 1098 days"),
        ("before=0001-01-02", "Credits"),
        ("after=soon", "Enter a valid date"),
        ("kind=nothing", "Select a valid choice"),
    ],
)
def test_range_that_cannot_be_used_is_explained(
    client: Client, member: Membership, query: str, message: str
) -> None:
    answer = client.get(f"/app/orgs/{member.organisation.slug}/settings/credits/?{query}")

    assert (answer.status_code, message in answer.content.decode()) == (200, True)


def test_api_reads_balance_usage_and_ledger(member: Membership, ada: User) -> None:
    api, path = Api(ada), f"orgs/{member.organisation.slug}/credits"
    assert api.get(f"{path}/").json() == {"is_limited": False, "balance": None}
    ledger.grant(member.organisation, 4, user=ada, note="May")

    assert api.get(f"{path}/").json() == {"is_limited": True, "balance": 4}
    usage = api.get(f"{path}/usage/?by=validator&after=2026-02-01&before=2026-03-01").json()
    assert usage["results"][0] == {"name": "fmu", "steps": 1, "credits": 5}
    entries = api.get(f"{path}/ledger/?kind=GRANT").json()["results"]
    assert [(each["amount"], each["person"], each["note"]) for each in entries] == [(4, "", "May")]
    assert api.get(f"{path}/usage/?by=colour").status_code == 400
