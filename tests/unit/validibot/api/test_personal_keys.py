"""The API of personal keys: no key becomes a better one."""

import datetime as dt
import json
from typing import Any

import pytest
from django.test import Client

from tests.unit.validibot.api.conftest import Api
from validibot.accounts import api_keys
from validibot.accounts.models import ApiKey, Organisation, Role, User

KEYS = "users/me/keys/"
NEW = {"name": "CI", "scopes": ["read", "launch"], "lifetime_days": 30}


def send(api: Api, path: str, body: Any = None) -> Any:
    return api.post(path, json.dumps(body or {}), "application/json")


@pytest.fixture
def own(alice: Api) -> ApiKey:
    """The key that makes the requests of `alice`."""
    return ApiKey.objects.get(user__email="alice@example.com")


def test_personal_key_is_created_rotated_and_revoked(alice: Api, own: ApiKey) -> None:
    made = send(alice, KEYS, NEW)
    pk = made.json()["id"]
    rotated = send(alice, f"{KEYS}{pk}/rotate/", {"overlap_days": 1})
    revoked = send(alice, f"{KEYS}{pk}/revoke/")
    listed = alice.get(KEYS).json()["results"]

    assert [each.status_code for each in (made, rotated, revoked)] == [201, 201, 200]
    assert api_keys.authenticate(made.json()["token"]) is None
    assert api_keys.authenticate(rotated.json()["token"])
    assert [each["is_current"] for each in listed] == [False, False, True]
    assert not any("token" in each for each in listed)


@pytest.mark.parametrize(
    ("scopes", "wanted"), [("manage", "read launch"), ("read manage", "launch"), ("read", "read")]
)
def test_key_without_a_scope_makes_no_key_with_it(
    alice: Api, own: ApiKey, scopes: str, wanted: str
) -> None:
    ApiKey.objects.filter(pk=own.pk).update(scopes=scopes)
    other, _ = api_keys.issue(own.user, "other", scopes=wanted.split())

    answers = [
        send(alice, KEYS, NEW | {"scopes": wanted.split()}),
        send(alice, f"{KEYS}{other.pk}/rotate/"),
    ]

    assert [each.status_code for each in answers] == [403, 403]
    assert ApiKey.objects.count() == 2


def test_key_makes_no_key_that_lives_longer(alice: Api, own: ApiKey) -> None:
    end = own.expires_at - dt.timedelta(days=360)
    ApiKey.objects.filter(pk=own.pk).update(expires_at=end)
    other, _ = api_keys.issue(own.user, "other")
    send(alice, KEYS, NEW | {"lifetime_days": 365})
    send(alice, f"{KEYS}{other.pk}/rotate/")

    made = ApiKey.objects.filter(pk__gt=other.pk)
    assert sorted(made.values_list("name", flat=True)) == ["CI", "other"]
    assert all(key.expires_at < end + dt.timedelta(minutes=5) for key in made)


def test_narrow_key_rotates_and_revokes_itself_only(alice: Api, own: ApiKey) -> None:
    other, _ = api_keys.issue(own.user, "other", scopes=["read"])
    ApiKey.objects.filter(pk=own.pk).update(scopes="read")

    assert [each["name"] for each in alice.get(KEYS).json()["results"]] == [own.name]
    assert send(alice, f"{KEYS}{other.pk}/revoke/").status_code == 403
    rotated = send(alice, f"{KEYS}{own.pk}/rotate/", {"overlap_days": 1}).json()
    assert rotated["scopes"] == ["read"]
    assert send(alice, f"{KEYS}{own.pk}/revoke/").json()["revoked_at"]
    assert alice.get(KEYS).status_code == 401


def test_keys_of_others_and_of_services_are_out_of_reach(
    alice: Api, victor: Api, acme: Organisation
) -> None:
    foreign = ApiKey.objects.get(user__email="victor@example.com")
    _, token = api_keys.issue_for_service(
        acme, "CI", role=Role.ADMIN, scopes=["read", "manage"], lifetime=api_keys.LIFETIME
    )
    service = Api(None)
    service.headers["Authorization"] = f"Bearer {token}"

    assert send(alice, f"{KEYS}{foreign.pk}/revoke/").status_code == 404
    assert send(service, KEYS, NEW | {"scopes": ["read"]}).status_code == 403
    assert send(Api(None), KEYS, NEW).status_code == 401


def test_session_makes_keys_of_all_scopes(alice: Api) -> None:
    client = Client()
    client.force_login(User.objects.get(email="alice@example.com"))
    body = NEW | {"scopes": ["read", "launch", "manage"]}

    answer = client.post(f"/api/v1/{KEYS}", json.dumps(body), "application/json")

    assert answer.status_code == 201
