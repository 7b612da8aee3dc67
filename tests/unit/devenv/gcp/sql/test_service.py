"""Cloud SQL without a server behind it: settings, operations, databases and users."""

from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import httpx
import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.sql.operations import SqlOperations
from devenv.gcp.sql.server import SqlServer
from devenv.gcp.sql.service import CloudSqlService
from tests.unit.devenv.gcp.fakes import (
    Everybody,
    FakeGuard,
    MemoryJournal,
    MemoryStore,
    no_faults,
    settle,
)

pytestmark = pytest.mark.anyio
BASE = "/v1/projects/p"
INSTANCE: dict[str, Any] = {
    "name": "db",
    "databaseVersion": "POSTGRES_17",
    "region": "us-west1",
    "settings": {
        "tier": "db-custom-1-3840",
        "edition": "ENTERPRISE",
        "backupConfiguration": {"enabled": True, "pointInTimeRecoveryEnabled": True},
    },
}


class SqlBench:
    """The API of one project by REST, in the loop of the test."""

    def __init__(self, tmp_path: Path) -> None:
        self.store, self.guard, self.clock = MemoryStore(), FakeGuard(), ManualClock()
        self._data = tmp_path
        self.service = self.make()

    def make(self) -> CloudSqlService:
        """Return the service as a start of the emulator makes it."""
        return CloudSqlService(
            config=CloudConfig(project="p"),
            data=self._data,
            store=self.store,
            clock=self.clock,
            guard=self.guard,
            private_range=lambda _network, _instance: IPv4Network("10.64.0.0/16"),
        )

    async def ask(self, verb: str, path: str, body: Any = None) -> httpx.Response:
        calls = Calls(Everybody(), MemoryJournal(), no_faults())
        transport = httpx.ASGITransport(RestApp(self.service.rpcs(), calls))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(verb, f"{BASE}/{path}", json=body)

    async def done(self, verb: str, path: str, body: Any = None) -> dict[str, Any]:
        """Begin an operation, and return it as it is at its end."""
        begun = await self.ask(verb, path, body)
        assert begun.json()["status"] == "PENDING", begun.text
        return await self.until_done(begun.json()["name"])

    async def until_done(self, operation: str) -> dict[str, Any]:
        """Return an operation as it is at its end."""
        await settle()
        ended: dict[str, Any] = (await self.ask("GET", f"operations/{operation}")).json()
        assert ended["status"] == "DONE"
        return ended


@pytest.fixture
def bench(tmp_path: Path) -> SqlBench:
    return SqlBench(tmp_path)


async def test_new_instance_is_ready_when_its_operation_is_done(bench: SqlBench) -> None:
    begun = await bench.ask("POST", "instances", INSTANCE)
    early = (await bench.ask("GET", "instances/db")).json()
    busy = await bench.ask("PATCH", "instances/db", {"settings": {"userLabels": {"a": "b"}}})
    await settle()
    made = (await bench.ask("GET", "instances/db")).json()
    again = await bench.ask("POST", "instances", INSTANCE)

    assert begun.json()["operationType"] == "CREATE"
    assert early["state"] == "PENDING_CREATE"
    assert (busy.status_code, again.status_code) == (409, 409)
    assert "another operation was already in progress" in busy.text
    assert (made["state"], made["connectionName"]) == ("RUNNABLE", "p:us-west1:db")
    assert made["settings"]["backupConfiguration"] == {
        "kind": "sql#backupConfiguration",
        "enabled": True,
        "pointInTimeRecoveryEnabled": True,
        "startTime": "00:00",
        "transactionLogRetentionDays": 7,
        "backupRetentionSettings": {"retainedBackups": 7, "retentionUnit": "COUNT"},
    }
    assert [each["type"] for each in made["ipAddresses"]] == ["PRIMARY"]


async def test_errors_have_the_list_of_cloud_sql(bench: SqlBench) -> None:
    error = (await bench.ask("GET", "instances/none")).json()["error"]
    text = "The Cloud SQL instance does not exist."

    reason = "instanceDoesNotExist"
    assert error["errors"] == [{"message": text, "domain": "global", "reason": reason}]


async def test_protected_instance_is_deleted_only_after_a_patch(bench: SqlBench) -> None:
    protected = {**INSTANCE["settings"], "deletionProtectionEnabled": True}
    await bench.done("POST", "instances", {**INSTANCE, "settings": protected})
    refused = await bench.ask("DELETE", "instances/db")
    patch = {"settings": {"deletionProtectionEnabled": False, "settingsVersion": "1"}}
    await bench.done("PATCH", "instances/db", patch)
    stale = await bench.ask("PATCH", "instances/db", patch)
    kept = (await bench.ask("GET", "instances/db")).json()["settings"]
    await bench.done("DELETE", "instances/db")
    gone = await bench.ask("GET", "instances/db")

    assert refused.status_code == 400
    assert "disable the deletion protection" in refused.text
    assert stale.status_code == 400
    assert (kept["tier"], kept["settingsVersion"]) == ("db-custom-1-3840", "2")
    assert gone.status_code == 404


def _files(folder: str) -> list[Path]:
    return list(Path(folder).iterdir())


async def test_sockets_of_a_deleted_instance_are_forgotten(bench: SqlBench) -> None:
    await bench.done("POST", "instances", INSTANCE)
    folder = bench.service.sockets.open("web@p", "p:us-west1:db")
    bench.service.sockets.open("web@p", "p:us-west1:other")
    await bench.done("DELETE", "instances/db")

    assert not _files(folder)
    rows = [key for key, _ in bench.store.table("sql_sockets").scan()]
    assert rows == ["web@p p:us-west1:other"]
    await bench.service.stop()


async def test_databases_and_users_are_listed_without_passwords(bench: SqlBench) -> None:
    await bench.done("POST", "instances", INSTANCE)
    await bench.done("POST", "instances/db/databases", {"name": "app"})
    await bench.done("POST", "instances/db/users", {"name": "app", "password": "secret"})
    await bench.done("PUT", "instances/db/users?name=app", {"password": "other"})
    twice = await bench.ask("POST", "instances/db/databases", {"name": "app"})
    without = await bench.ask("POST", "instances/db/users", {"name": "b"})
    listed = await bench.ask("GET", "instances/db/users")
    databases = await bench.ask("GET", "instances/db/databases")
    await bench.done("DELETE", "instances/db/databases/app")
    missing = await bench.ask("GET", "instances/db/databases/app")

    assert [each["name"] for each in listed.json()["items"]] == ["app", "postgres"]
    assert "password" not in listed.text
    assert [each["name"] for each in databases.json()["items"]] == ["app", "postgres"]
    assert (twice.status_code, without.status_code, missing.status_code) == (409, 400, 404)
    assert "user.password is required" in without.text


async def test_interrupted_creation_ends_after_a_restart(
    bench: SqlBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords: list[str] = []

    async def put_user(_server: SqlServer, _instance: str, _user: str, password: str) -> None:
        passwords.append(password)

    monkeypatch.setattr(SqlServer, "put_user", put_user)
    await bench.ask("POST", "instances", {**INSTANCE, "rootPassword": "secret"})
    await bench.service.stop()
    bench.service = bench.make()
    await bench.service.start()
    await settle()

    assert passwords == ["secret"]
    assert not list(bench.store.table("sql_root_passwords").scan())

    assert (await bench.ask("GET", "instances/db")).json()["state"] == "RUNNABLE"
    operations = (await bench.ask("GET", "operations?instance=db")).json()["items"]
    assert [each["status"] for each in operations] == ["DONE"]


async def test_instance_is_not_kept_without_its_operation(
    bench: SqlBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise RuntimeError("killed between the two writes")

    with monkeypatch.context() as patched:
        patched.setattr(SqlOperations, "begin", die)
        with suppress(RuntimeError):
            await bench.ask("POST", "instances", INSTANCE)

    assert (await bench.ask("GET", "instances/db")).status_code == 404


async def test_operation_that_breaks_ends_with_an_error(
    bench: SqlBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise OSError("disk is full")

    await bench.done("POST", "instances", INSTANCE)
    with monkeypatch.context() as patched:
        patched.setattr(SqlServer, "create_database", fail)
        broken = await bench.done("POST", "instances/db/databases", {"name": "app"})
    assert "the log of the emulator" in broken["error"]["errors"][0]["message"]
    assert "error" not in await bench.done("POST", "instances/db/databases", {"name": "app"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"edition": "EDITION_UNSPECIFIED"},
            "Invalid Tier (db-custom-1-3840) for (ENTERPRISE_PLUS)",
        ),
        ({"tier": ""}, "Missing parameter: settings.tier"),
        ({"tier": "db-custom-3-3840"}, "1 vCPU or an even number"),
        ({"tier": "db-custom-1-1024"}, "a multiple of 256 MiB"),
        ({"ipConfiguration": {"ipv4Enabled": False}}, "At least one of Public IP or Private IP"),
        ({"ipConfiguration": {"privateNetwork": "default"}}, "projects/PROJECT/global/networks"),
        (
            {"backupConfiguration": {"transactionLogRetentionDays": 8}},
            "must be between 1 and 7",
        ),
        (
            {"backupConfiguration": {"pointInTimeRecoveryEnabled": True}},
            "Point-in-time recovery must have automated backups",
        ),
        (
            {"availabilityType": "REGIONAL", "backupConfiguration": {}},
            "must have automated backups",
        ),
        ({"activeDirectoryConfig": {"domain": "x"}}, "active_directory_config is not emulated"),
    ],
)
async def test_invalid_settings_are_refused(
    bench: SqlBench, settings: dict[str, Any], message: str
) -> None:
    body = {**INSTANCE, "settings": {**INSTANCE["settings"], **settings}}
    refused = await bench.ask("POST", "instances", body)

    assert refused.status_code in (400, 501)
    assert message in refused.json()["error"]["message"]


@pytest.mark.parametrize("version", ["MYSQL_8_0", "POSTGRES_9_6", 99_999])
async def test_other_database_is_not_emulated(bench: SqlBench, version: str | int) -> None:
    refused = await bench.ask("POST", "instances", {**INSTANCE, "databaseVersion": version})

    assert refused.status_code == 501
    assert f"databaseVersion {version} is not emulated" in refused.text


async def test_caller_without_permission_is_refused(bench: SqlBench) -> None:
    await bench.done("POST", "instances", INSTANCE)
    bench.guard.denied = {"cloudsql.users.create"}
    user = {"name": "a", "password": "b"}

    assert (await bench.ask("POST", "instances/db/users", user)).status_code == 403
    assert ("cloudsql.users.create", "projects/p/instances/db") in bench.guard.asked
