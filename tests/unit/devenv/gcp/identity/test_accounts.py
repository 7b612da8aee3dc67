"""Service accounts: what devenv.toml declares, and the rules of the methods."""

import sqlite3
from pathlib import Path

import pytest
from google.iam.v1.policy_pb2 import Policy

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.iam.policies import Policies
from devenv.gcp.identity.accounts import Accounts
from devenv.gcp.identity.accounts_api import AccountsApi
from devenv.gcp.identity.identity import Identity
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from tests.unit.devenv.gcp.fakes import FakeGuard, MemoryJournal, MemoryStore, no_faults
from tests.unit.devenv.gcp.web import Web

CONFIG = CloudConfig(project="p", accounts=("web", "tasks"))
BASE = "/v1/projects/p/serviceAccounts"
TASKS = f"{BASE}/tasks@p.iam.gserviceaccount.com"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def identity(keys: Path, store: MemoryStore) -> Identity:
    return Identity(config=CONFIG, folder=keys, clock=ManualClock(), store=store)


@pytest.fixture
def policies(store: MemoryStore) -> Policies:
    return Policies(CONFIG, store, is_account=lambda _: True)


@pytest.fixture
def guard() -> FakeGuard:
    return FakeGuard()


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def client(identity: Identity, guard: FakeGuard, policies: Policies, events: list[str]) -> Web:
    api = AccountsApi(
        config=CONFIG,
        identity=identity,
        guard=guard,
        members=policies,
        opened=lambda account: events.append(f"+{account.name}"),
        closed=lambda account: events.append(f"-{account.name}"),
    )
    token = identity.access_token("web@p.iam.gserviceaccount.com")
    app = RestApp(api.rpcs(), Calls(identity, MemoryJournal(), no_faults()))
    return Web(app, headers={"authorization": f"Bearer {token}"})


def refusal(client: Web, account_id: str) -> str:
    return str(client.post(BASE, json={"accountId": account_id}).json()["error"]["message"])


def test_declared_accounts_follow_the_file(keys: Path) -> None:
    store = MemoryStore()
    before = Accounts(CONFIG, store)
    web = before.get("web")
    before.create("made@p.iam.gserviceaccount.com")

    after = Accounts(CloudConfig(project="p", accounts=("web",)), store)

    assert after.get("web") == web
    assert after.get("tasks") is None
    assert after.get("made") is not None


def test_project_has_a_default_account(identity: Identity) -> None:
    assert identity.knows("123456789012-compute@developer.gserviceaccount.com")


@pytest.mark.parametrize(
    ("account_id", "message"),
    [
        ("short", "does not have a length between 6 and 30"),
        ("a" * 31, "does not have a length between 6 and 30"),
        ("Capital", 'does not match the pattern "[a-z]([-a-z0-9]*[a-z0-9])"'),
        ("ends-with-", "does not match the pattern"),
    ],
)
def test_invalid_account_id_is_refused(client: Web, account_id: str, message: str) -> None:
    assert message in refusal(client, account_id)


def test_account_101_is_refused(client: Web, events: list[str]) -> None:
    for number in range(97):
        client.post(BASE, json={"accountId": f"account-{number}"})

    assert refusal(client, "one-too-many") == (
        "Maximum number of service accounts on project reached."
    )
    assert len(events) == 97


def test_new_account_has_no_key_of_the_deleted_one(client: Web, identity: Identity) -> None:
    client.post(BASE, json={"accountId": "reborn"})
    email = "reborn@p.iam.gserviceaccount.com"
    identity.user_keys.create(email)
    client.request("DELETE", f"{BASE}/{email}")
    client.post(BASE, json={"accountId": "reborn"})

    assert identity.user_keys.of(email) == []


def test_deletion_that_fails_half_way_leaves_the_account_and_its_roles(
    client: Web, policies: Policies, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, role = "serviceAccount:tasks@p.iam.gserviceaccount.com", "roles/viewer"
    bindings = [{"role": role, "members": [member]}]
    resources = ("projects/p", "projects/p/topics/t")
    for resource in resources:
        policies.write(resource, Policy(bindings=bindings))
    save, saved = policies._save, list[str]()

    def fail_at_second(resource: str, wanted: Policy) -> object:
        saved.append(resource)
        if len(saved) == 2:
            raise sqlite3.OperationalError("database or disk is full")
        return save(resource, wanted)

    monkeypatch.setattr(policies, "_save", fail_at_second)
    assert client.request("DELETE", TASKS).status_code == 500
    assert client.get(TASKS).status_code == 200
    for found in (policies, Policies(CONFIG, store, is_account=lambda _: True)):
        assert found.roles_of(member) == [(role, resource, "") for resource in resources]
    assert Accounts(CONFIG, store).get("tasks") is not None
    assert client.request("DELETE", TASKS).status_code == 200
    assert policies.roles_of(member) == []


def test_patch_changes_only_texts_and_checks_the_etag(client: Web) -> None:
    etag = client.get(TASKS).json()["etag"]
    body = {"serviceAccount": {"displayName": "T", "etag": etag}, "updateMask": "displayName"}

    assert client.request("PATCH", TASKS, json=body).json()["displayName"] == "T"
    assert client.request("PATCH", TASKS, json=body).status_code == 409
    wrong = {"serviceAccount": {"email": "x"}, "updateMask": "email"}
    assert "only display_name" in client.request("PATCH", TASKS, json=wrong).text
    long = {"serviceAccount": {"displayName": "ü" * 51}, "updateMask": "displayName"}
    assert "display_name has 102 bytes" in client.request("PATCH", TASKS, json=long).text


def test_each_method_asks_for_its_permission(client: Web, guard: FakeGuard) -> None:
    client.post(BASE, json={"accountId": "someone"})
    client.get(BASE)
    client.get(TASKS)
    client.request("PUT", TASKS, json={"displayName": "T"})
    for verb in ("disable", "enable", "undelete"):
        client.post(f"{TASKS}:{verb}", json={})
    client.request("DELETE", TASKS)

    assert [permission.rpartition(".")[2] for permission, _ in guard.asked] == [
        *("create", "list", "get", "update", "disable", "enable", "undelete", "delete")
    ]


def test_missing_right_hides_whether_the_account_exists(client: Web, guard: FakeGuard) -> None:
    guard.denied.add("iam.serviceAccounts.get")

    assert client.get(f"{BASE}/nobody@p.iam.gserviceaccount.com").status_code == 403
    assert client.get(TASKS).status_code == 403


@pytest.mark.parametrize("name", ["projects/other/serviceAccounts/a@b", "projects/p/x/y"])
def test_name_of_another_project_or_kind_is_refused(client: Web, name: str) -> None:
    assert client.get(f"/v1/{name}").status_code in (403, 404)
