"""Exclusions and changes of the sink `_Default` by REST, and the entries that it keeps."""

from typing import Any

import pytest

from devenv.gcp.logging.entry_store import LogStore
from tests.unit.devenv.gcp.fakes import MemoryStore
from tests.unit.devenv.gcp.logging.test_log_store import NOW, entry, texts
from tests.unit.devenv.gcp.logging.test_sinks import ARCHIVE, ERRORS, LOGS, SinkBench, bench

__all__ = ["bench"]
pytestmark = pytest.mark.anyio
NOISE = {"name": "noise", "filter": 'textPayload:"noise"'}


async def shown(bench: SinkBench) -> list[str]:
    """Return the texts of the project's entries, in the order of their writing."""
    answer = await bench.ask("POST", "entries:list", {"resourceNames": ["projects/p"]})
    assert answer.status_code == 200, answer.text
    return sorted(each["textPayload"] for each in answer.json().get("entries", []))


async def update_default(bench: SinkBench, **fields: Any) -> dict[str, Any]:
    answer = await bench.ask("PATCH", f"sinks/_Default?updateMask={','.join(fields)}", fields)
    assert answer.status_code == 200, answer.text
    sink: dict[str, Any] = answer.json()
    return sink


async def test_exclusion_is_made_changed_listed_and_deleted(bench: SinkBench) -> None:
    made = (await bench.ask("POST", "exclusions", NOISE)).json()
    twice = await bench.ask("POST", "exclusions", NOISE)
    await bench.clock.turn(60)
    patch = {"filter": "severity<ERROR", "disabled": True}
    path = "exclusions/noise?updateMask=filter,disabled"
    changed = (await bench.ask("PATCH", path, patch)).json()
    unmasked = await bench.ask("PATCH", "exclusions/noise", patch)
    listed = (await bench.ask("GET", "exclusions")).json()["exclusions"]
    sink = (await bench.ask("GET", "sinks/_Default")).json()
    gone = await bench.ask("DELETE", "exclusions/noise")
    missing = await bench.ask("GET", "exclusions/noise")

    assert made == NOISE | {"createTime": made["createTime"], "updateTime": made["createTime"]}
    assert changed == made | patch | {"updateTime": changed["updateTime"]}
    assert changed["updateTime"] > made["updateTime"]
    assert (listed, sink["exclusions"]) == ([changed], [changed])
    codes = [each.status_code for each in (twice, unmasked, gone, missing)]
    assert codes == [409, 400, 200, 404]


async def test_excluded_entries_are_not_kept_and_still_exported(bench: SinkBench) -> None:
    await bench.make_sink(ERRORS)
    await bench.make_sink(ARCHIVE)
    told: list[Any] = []
    bench.entries.listeners.add(told.extend)
    await bench.ask("POST", "exclusions", NOISE)
    for text in ("fine", "noise"):
        bench.write(text, 500)
    bench.make()
    await bench.service.start()  # as after a restart
    bench.write("more noise", 500)
    await bench.clock.turn(3600)

    assert await shown(bench) == ["fine"]
    assert await bench.texts_of("global/buckets/_Default/views/_AllLogs") == ["fine"]
    assert [each.text_payload for each, _ in told] == ["fine"]
    assert bench.published() == ["fine", "noise", "more noise"]
    (lines,) = bench.objects.found.values()
    assert [each["textPayload"] for each in lines] == ["fine", "noise", "more noise"]


async def test_entries_without_a_bucket_or_a_sink_take_no_room(bench: SinkBench) -> None:
    await bench.ask("POST", "exclusions", NOISE)
    bench.write("noise")

    assert bench.entries.position() == 0
    await bench.ask("PATCH", "exclusions/noise?updateMask=disabled", {"disabled": True})
    bench.write("noise")
    assert await shown(bench) == ["noise"]


async def test_default_sink_keeps_what_its_filter_says(bench: SinkBench) -> None:
    bench.write("before")
    sink = await update_default(bench, filter="severity>=ERROR", exclusions=[NOISE])
    for text, severity in (("fine", 200), ("broken", 500), ("noise", 500)):
        bench.write(text, severity)
    again = await update_default(bench, disabled=True)
    bench.write("while disabled", 500)

    assert sink["destination"] == f"{LOGS}/buckets/_Default"
    assert "writerIdentity" not in sink
    assert again["exclusions"] == sink["exclusions"]
    assert await shown(bench) == ["before", "broken"]


async def test_default_sink_may_lead_to_another_bucket(bench: SinkBench) -> None:
    await bench.ask("POST", "locations/us-west1/buckets?bucketId=west", {})
    west = "logging.googleapis.com/projects/p/locations/us-west1/buckets/west"
    await update_default(bench, destination=west)
    bench.write("moved")
    back = {"name": "back", "destination": f"{LOGS}/buckets/_Default", "filter": "severity=ERROR"}
    await bench.make_sink(back)
    bench.write("back", 500)

    assert sorted(await bench.texts_of("us-west1/buckets/west")) == ["back", "moved"]
    assert await bench.texts_of("global/buckets/_Default") == ["back"]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"name": "_x"}, 400, "exclusion.name is '_x'"),
        ({"filter": ""}, 400, "exclusion.filter is required"),
        ({"filter": "severity>"}, 400, "severity"),
        ({"name": "ten"}, 400, "10 exclusions already"),
    ],
)
async def test_invalid_exclusion_is_refused_by_name(
    bench: SinkBench, body: dict[str, Any], status: int, text: str
) -> None:
    for index in range(10 if body.get("name") == "ten" else 0):
        await bench.ask("POST", "exclusions", NOISE | {"name": f"e{index}"})
    answer = await bench.ask("POST", "exclusions", NOISE | body)

    assert (answer.status_code, text in answer.json()["error"]["message"]) == (status, True)


@pytest.mark.parametrize(
    ("verb", "path", "permission"),
    [
        ("POST", "exclusions", "exclusions.create"),
        ("GET", "exclusions/noise", "exclusions.get"),
        ("GET", "exclusions", "exclusions.list"),
        ("PATCH", "exclusions/noise?updateMask=filter", "exclusions.update"),
        ("DELETE", "exclusions/noise", "exclusions.delete"),
        ("GET", "settings", "settings.get"),
        ("GET", "cmekSettings", "cmekSettings.get"),
    ],
)
async def test_exclusions_and_settings_need_their_permission(
    bench: SinkBench, verb: str, path: str, permission: str
) -> None:
    await bench.ask("POST", "exclusions", NOISE)
    bench.guard.denied = {f"logging.{permission}"}

    assert (
        await bench.ask(verb, path, NOISE if verb in ("POST", "PATCH") else None)
    ).status_code == 403


async def test_settings_of_the_project_are_those_of_a_new_one(bench: SinkBench) -> None:
    account = "cmek-p123@gcp-sa-logging.iam.gserviceaccount.com"

    assert (await bench.ask("GET", "settings")).json() == {
        "name": "projects/p/settings",
        "kmsServiceAccountId": account,
    }
    assert (await bench.ask("GET", "cmekSettings")).json()["serviceAccountId"] == account


async def test_table_of_an_older_version_shows_its_entries() -> None:
    store = MemoryStore()
    LogStore(store).add([entry("old")], now=NOW)
    store.connection.execute("ALTER TABLE log_entries DROP COLUMN kept")

    assert await texts(LogStore(store)) == ["old"]
