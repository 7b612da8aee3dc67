"""Log buckets and views by REST, and the entries that sinks keep in them."""

from typing import Any

import pytest

from tests.unit.devenv.gcp.logging.test_sinks import ERRORS, LOGS, SinkBench, bench

__all__ = ["bench"]
pytestmark = pytest.mark.anyio
WEEK = 7 * 86_400
REQUIRED_DAYS = "locations/global/buckets/_Required?updateMask=retention_days"
BUCKET = "locations/global/buckets/audit"
SINK = ERRORS | {"destination": f"{LOGS}/buckets/audit"}


async def make_bucket(bench: SinkBench, **fields: Any) -> dict[str, Any]:
    answer = await bench.ask("POST", "locations/global/buckets?bucketId=audit", fields)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_bucket_is_made_changed_listed_deleted_and_undeleted(bench: SinkBench) -> None:
    made = await make_bucket(bench, description="kept", retentionDays=60)
    twice = await bench.ask("POST", "locations/global/buckets?bucketId=audit", {})
    patch = f"{BUCKET}?updateMask=retention_days"
    changed = (await bench.ask("PATCH", patch, {"retentionDays": 90})).json()
    listed = (await bench.ask("GET", "locations/-/buckets")).json()["buckets"]
    elsewhere = (await bench.ask("GET", "locations/us-west1/buckets")).json()
    await bench.ask("DELETE", BUCKET)
    deleted = (await bench.ask("GET", BUCKET)).json()
    refused = await bench.ask("PATCH", patch, {"retentionDays": 1})
    restored = await bench.ask("POST", f"{BUCKET}:undelete", {})

    assert (made["name"], made["lifecycleState"]) == (f"projects/p/{BUCKET}", "ACTIVE")
    assert twice.status_code == 409
    assert (changed["retentionDays"], changed["description"]) == (90, "kept")
    assert [each["name"].rpartition("/")[2] for each in listed] == [
        "_Default",
        "_Required",
        "audit",
    ]
    assert elsewhere == {}
    assert deleted["lifecycleState"] == "DELETE_REQUESTED"
    assert (refused.status_code, restored.status_code) == (400, 200)
    assert (await bench.ask("GET", BUCKET)).json()["lifecycleState"] == "ACTIVE"


async def test_deleted_bucket_is_gone_after_a_week(bench: SinkBench) -> None:
    await make_bucket(bench)
    await bench.make_sink(SINK)
    bench.write("broken", 500)
    await bench.ask("DELETE", BUCKET)
    await bench.clock.turn(WEEK)

    assert (await bench.ask("GET", BUCKET)).status_code == 404
    await make_bucket(bench)
    assert await bench.texts_of("global/buckets/audit/views/_AllLogs") == []


async def test_sink_keeps_its_entries_in_a_bucket(bench: SinkBench) -> None:
    await make_bucket(bench)
    sink = await bench.make_sink(SINK | {"exclusions": [{"name": "x", "filter": '"noise"'}]})
    for text, severity in (("fine", 200), ("broken", 500), ("noise", 500)):
        bench.write(text, severity)
    bench.make()
    await bench.service.start()  # as after a restart
    bench.write("worse", 600)

    assert "writerIdentity" not in sink
    kept = await bench.texts_of("global/buckets/audit/views/_AllLogs")
    assert sorted(kept) == ["broken", "worse"]
    assert await bench.texts_of("global/buckets/audit", filter="severity>500") == ["worse"]
    everything = await bench.texts_of("global/buckets/_Default/views/_Default")
    assert sorted(everything) == ["broken", "fine", "noise", "worse"]
    assert await bench.texts_of("global/buckets/_Required/views/_AllLogs") == []
    logs = await bench.ask("GET", f"logs?resourceNames=projects/p/{BUCKET}/views/_AllLogs")
    assert logs.json() == {"logNames": ["projects/p/logs/app"]}


async def test_entries_of_a_deleted_bucket_are_lost_with_a_warning(
    bench: SinkBench, caplog: pytest.LogCaptureFixture
) -> None:
    await make_bucket(bench)
    await bench.make_sink(SINK)
    await bench.ask("DELETE", BUCKET)
    bench.write("lost", 500)
    await bench.ask("POST", f"{BUCKET}:undelete", {})
    bench.write("kept", 500)

    assert await bench.texts_of("global/buckets/audit") == ["kept"]
    assert "Sink errors cannot write to" in caplog.text


async def test_entries_leave_a_bucket_after_its_retention(bench: SinkBench) -> None:
    await make_bucket(bench, retentionDays=1)
    await bench.make_sink(SINK)
    bench.write("old", 500)
    await bench.clock.turn(2 * 86_400)

    assert await bench.texts_of("global/buckets/audit") == []


async def test_default_bucket_keeps_entries_for_its_changed_days(bench: SinkBench) -> None:
    default = "locations/global/buckets/_Default"
    patch = {"retentionDays": 40}
    changed = await bench.ask("PATCH", f"{default}?updateMask=retention_days", patch)
    bench.write("old", 500)
    await bench.clock.turn(35 * 86_400)
    kept = await bench.texts_of("global/buckets/_Default")
    await bench.clock.turn(6 * 86_400)

    assert changed.json()["retentionDays"] == 40
    assert (await bench.ask("GET", default)).json()["retentionDays"] == 40
    assert kept == ["old"]
    assert await bench.texts_of("global/buckets/_Default") == []


async def test_view_shows_the_entries_of_its_filter(bench: SinkBench) -> None:
    await make_bucket(bench)
    await bench.make_sink(SINK)
    view = f"{BUCKET}/views/app"
    made = await bench.ask("POST", f"{BUCKET}/views?viewId=app", {"filter": 'LOG_ID("app")'})
    bench.write("broken", 500)
    shown = await bench.texts_of("global/buckets/audit/views/app")
    patch = {"filter": 'LOG_ID("other")', "description": "d"}
    changed = await bench.ask("PATCH", f"{view}?updateMask=filter", patch)
    hidden = await bench.texts_of("global/buckets/audit/views/app")
    listed = (await bench.ask("GET", f"{BUCKET}/views")).json()["views"]
    gone = await bench.ask("DELETE", view)

    assert made.json()["name"] == f"projects/p/{view}"
    assert (shown, hidden) == (["broken"], [])
    assert "description" not in changed.json()
    assert [each["name"].rpartition("/")[2] for each in listed] == ["_AllLogs", "app"]
    assert gone.status_code == 200
    assert (await bench.ask("GET", view)).status_code == 404


async def test_locked_bucket_cannot_be_shortened_or_deleted(bench: SinkBench) -> None:
    await make_bucket(bench, locked=True, retentionDays=10)
    shorter = await bench.ask("PATCH", f"{BUCKET}?updateMask=retention_days", {"retentionDays": 1})
    unlocked = await bench.ask("PATCH", f"{BUCKET}?updateMask=locked", {"locked": False})
    described = await bench.ask("PATCH", f"{BUCKET}?updateMask=description", {"description": "d"})
    deleted = await bench.ask("DELETE", BUCKET)

    assert (shorter.status_code, unlocked.status_code, deleted.status_code) == (400, 400, 400)
    assert described.json()["description"] == "d"


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "text"),
    [
        ("POST", "locations/global/buckets?bucketId=a%20b", {}, 400, "bucket_id is 'a b'"),
        ("POST", "locations/GLOBAL/buckets?bucketId=a", {}, 400, "must be formatted"),
        ("POST", "locations/-/buckets?bucketId=a", {}, 400, "must name a location"),
        (
            *("POST", "locations/global/buckets?bucketId=a", {"retentionDays": 4000}),
            *(400, "retention_days is 4000"),
        ),
        (
            *("POST", "locations/global/buckets?bucketId=a", {"analyticsEnabled": True}),
            *(501, "bucket.analytics_enabled is not emulated"),
        ),
        ("POST", "locations/global/buckets?bucketId=_Default", {}, 400, "bucket_id"),
        ("PATCH", BUCKET, {"description": "d"}, 400, "update_mask is required"),
        ("DELETE", "locations/global/buckets/_Default", None, 400, "_Default cannot be deleted"),
        ("PATCH", REQUIRED_DAYS, {"retentionDays": 1}, 400, "_Required is locked"),
        ("DELETE", f"{BUCKET}/views/_AllLogs", None, 400, "_AllLogs"),
        (
            *("PATCH", "locations/global/buckets/_Default/views/_Default", {"filter": ""}),
            *(400, "_Default cannot be changed"),
        ),
        ("POST", f"{BUCKET}:undelete", {}, 400, "is not deleted"),
        ("POST", f"{BUCKET}/views?viewId=v", {"filter": "severity>"}, 400, "severity"),
        ("GET", "locations/global/buckets/none/views", None, 404, "does not exist"),
        (
            *("POST", "entries:list", {"resourceNames": [f"projects/p/{BUCKET}/views/none"]}),
            *(404, "View"),
        ),
        (
            *("POST", "entries:list", {"resourceNames": ["projects/p", f"projects/p/{BUCKET}"]}),
            *(501, "ask for each alone"),
        ),
    ],
)
async def test_invalid_request_is_refused_by_name(
    bench: SinkBench, verb: str, path: str, body: Any, status: int, text: str
) -> None:
    await make_bucket(bench)
    answer = await bench.ask(verb, path, body)

    assert (answer.status_code, text in answer.json()["error"]["message"]) == (status, True)


@pytest.mark.parametrize(
    ("permission", "verb", "path"),
    [
        ("logging.buckets.get", "GET", BUCKET),
        ("logging.views.list", "GET", f"{BUCKET}/views"),
        ("logging.views.access", "POST", "entries:list"),
    ],
)
async def test_each_method_needs_its_permission(
    bench: SinkBench, permission: str, verb: str, path: str
) -> None:
    await make_bucket(bench)
    bench.guard.denied = {permission}
    body = {"resourceNames": [f"projects/p/{BUCKET}/views/_AllLogs"]} if verb == "POST" else None

    assert (await bench.ask(verb, path, body)).status_code == 403
