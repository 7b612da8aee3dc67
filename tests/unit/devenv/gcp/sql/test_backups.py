"""Backups, restores and clones of Cloud SQL without a server: names, operations and rights."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from devenv.gcp.sql.contents_copy import ContentsCopy
from tests.unit.devenv.gcp.sql.test_service import INSTANCE, SqlBench, bench

__all__ = ["bench"]
pytestmark = pytest.mark.anyio
DAY = 86_400
RUNS = "instances/db/backupRuns"


async def runs(bench: SqlBench) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await bench.ask("GET", RUNS)).json().get("items", [])
    return items


async def names(bench: SqlBench, kind: str, instance: str = "db") -> list[str]:
    items = (await bench.ask("GET", f"instances/{instance}/{kind}")).json().get("items", [])
    return [each["name"] for each in items]


async def test_backup_is_made_listed_and_deleted(bench: SqlBench) -> None:
    await bench.done("POST", "instances", INSTANCE)
    made = await bench.done("POST", RUNS, {"description": "before the change"})
    run_id = made["backupContext"]["backupId"]
    found = (await bench.ask("GET", f"{RUNS}/{run_id}")).json()
    second = await bench.done("POST", RUNS, {})
    listed = [each["id"] for each in await runs(bench)]
    gone = await bench.done("DELETE", f"{RUNS}/{run_id}")
    missing = await bench.ask("GET", f"{RUNS}/{run_id}")

    assert made["operationType"] == "BACKUP_VOLUME"
    wanted = {"status": "SUCCESSFUL", "type": "ON_DEMAND", "description": "before the change"}
    assert found | wanted | {"kind": "sql#backupRun", "instance": "db"} == found
    assert listed == [second["backupContext"]["backupId"], run_id]
    assert (gone["operationType"], missing.status_code) == ("DELETE_BACKUP", 404)


async def test_automated_backups_follow_the_clock_and_their_retention(bench: SqlBench) -> None:
    await bench.service.start()
    settings = INSTANCE["settings"] | {
        "backupConfiguration": {
            "enabled": True,
            "startTime": "09:30",
            "backupRetentionSettings": {"retainedBackups": 2},
        }
    }
    await bench.done("POST", "instances", INSTANCE | {"settings": settings})
    await bench.done("POST", RUNS, {})
    await bench.clock.turn(4 * DAY)
    kept = await runs(bench)
    off = {"settings": {"backupConfiguration": {"enabled": False}}}
    await bench.done("PATCH", "instances/db", off)
    await bench.clock.turn(2 * DAY)

    assert [each["type"] for each in kept] == ["AUTOMATED", "AUTOMATED", "ON_DEMAND"]
    assert [each["windowStartTime"] for each in kept[:2]] == [
        "2027-01-18T09:30:00Z",
        "2027-01-17T09:30:00Z",
    ]
    assert await runs(bench) == kept
    await bench.service.stop()


async def test_restore_brings_back_databases_and_users(bench: SqlBench) -> None:
    await bench.done("POST", "instances", INSTANCE)
    await bench.done("POST", "instances/db/databases", {"name": "old"})
    await bench.done("POST", "instances/db/users", {"name": "app", "password": "x"})
    backup = (await bench.done("POST", RUNS, {}))["backupContext"]["backupId"]
    await bench.done("DELETE", "instances/db/databases/old")
    await bench.done("POST", "instances/db/databases", {"name": "new"})
    await bench.done("POST", "instances", INSTANCE | {"name": "other"})
    for target in ("db", "other"):
        body = {"restoreBackupContext": {"backupRunId": backup, "instanceId": "db"}}
        ended = await bench.done("POST", f"instances/{target}/restoreBackup", body)
        assert (ended["operationType"], "error" in ended) == ("RESTORE_VOLUME", False)
        assert await names(bench, "databases", target) == ["old", "postgres"]
        assert await names(bench, "users", target) == ["app", "postgres"]


async def test_clone_has_settings_and_contents_of_its_source(bench: SqlBench) -> None:
    await bench.done("POST", "instances", INSTANCE)
    await bench.done("POST", "instances/db/databases", {"name": "app"})
    context = {"destinationInstanceName": "copy"}
    ended = await bench.done("POST", "instances/db/clone", {"cloneContext": context})
    made = (await bench.ask("GET", "instances/copy")).json()
    again = await bench.ask("POST", "instances/db/clone", {"cloneContext": context})
    past = context | {"pointInTime": "2027-01-01T00:00:00Z"}
    refused = await bench.ask("POST", "instances/db/clone", {"cloneContext": past})

    assert (ended["operationType"], ended["targetId"]) == ("CLONE", "copy")
    assert made["settings"] == (await bench.ask("GET", "instances/db")).json()["settings"]
    assert (made["state"], await names(bench, "databases", "copy")) == (
        "RUNNABLE",
        ["app", "postgres"],
    )
    assert (again.status_code, refused.status_code) == (409, 501)
    assert "Point-in-time recovery is not emulated" in refused.text


async def test_interrupted_backup_has_failed_and_a_clone_is_undone(
    bench: SqlBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.done("POST", "instances", INSTANCE)

    async def never(*_: Any) -> int:
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(ContentsCopy, "save", never)
    clone = {"cloneContext": {"destinationInstanceName": "copy"}}
    begun = [
        await bench.ask("POST", "instances/db/clone", clone),
        await bench.ask("POST", RUNS, {}),
    ]
    await bench.service.stop()
    bench.service = bench.make()
    await bench.service.start()
    for each in begun:
        ended = await bench.until_done(each.json()["name"])
        assert ended["error"]["errors"][0]["code"] == "ABORTED"
    assert [each["status"] for each in await runs(bench)] == ["FAILED"]
    assert (await bench.ask("GET", "instances/copy")).status_code == 404
    await bench.service.stop()


async def test_deleted_instance_takes_its_backups_with_it(bench: SqlBench, tmp_path: Path) -> None:
    await bench.done("POST", "instances", INSTANCE)
    await bench.done("POST", RUNS, {})
    assert list((tmp_path / "sql_backups").iterdir())
    await bench.done("DELETE", "instances/db")
    await bench.done("POST", "instances", INSTANCE)

    assert await runs(bench) == []
    assert list((tmp_path / "sql_backups").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("export", {"exportContext": {"uri": "x"}}, 400, "must be gs://BUCKET/OBJECT"),
        ("restoreBackup", {"restoreBackupContext": {"backupRunId": "7"}}, 404, "backup run 7"),
        ("restoreBackup", {"backup": "projects/p/backups/b"}, 501, "restoreBackupContext"),
        ("clone", {"cloneContext": {"destinationInstanceName": "A"}}, 400, "Invalid instance name"),
        ("backupRuns", {"surprise": 1}, 400, "surprise"),
    ],
)
async def test_invalid_copy_is_refused_by_name(
    bench: SqlBench, path: str, body: dict[str, Any], status: int, text: str
) -> None:
    await bench.done("POST", "instances", INSTANCE)
    answer = await bench.ask("POST", f"instances/db/{path}", body)

    assert (answer.status_code, text in answer.text) == (status, True), answer.text


@pytest.mark.parametrize(
    ("verb", "path", "permission"),
    [
        ("POST", "backupRuns", "backupRuns.create"),
        ("GET", "backupRuns", "backupRuns.list"),
        ("GET", "backupRuns/1", "backupRuns.get"),
        ("DELETE", "backupRuns/1", "backupRuns.delete"),
        ("POST", "restoreBackup", "instances.restoreBackup"),
        ("POST", "clone", "instances.clone"),
        ("POST", "export", "instances.export"),
        ("POST", "import", "instances.import"),
    ],
)
async def test_backups_and_copies_need_their_permission(
    bench: SqlBench, verb: str, path: str, permission: str
) -> None:
    await bench.done("POST", "instances", INSTANCE)
    bench.guard.denied = {f"cloudsql.{permission}"}
    body: dict[str, Any] | None = {} if verb == "POST" else None

    assert (await bench.ask(verb, f"instances/db/{path}", body)).status_code == 403
