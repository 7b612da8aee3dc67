"""Schemas of Pub/Sub by REST, and topics that refuse messages which do not fit."""

import asyncio
import base64
import io
import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import fastavro
import pytest

from devenv.gcp.caller import ApiCall, ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.pubsub import schemas
from devenv.gcp.pubsub.avro import check_binary, parse_definition
from devenv.gcp.pubsub.service import PubSubService
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from tests.unit.devenv.gcp.fakes import (
    Everybody,
    FakeGuard,
    FakeMinter,
    FakeTarget,
    MemoryJournal,
    MemoryStore,
    no_faults,
)
from tests.unit.devenv.gcp.web import Web

SCHEMAS, TOPIC = "/v1/projects/p/schemas", "/v1/projects/p/topics/orders"
ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "string"}, {"name": "count", "type": ["null", "int"]}],
}
NEXT = ORDER | {"fields": [*ORDER["fields"], {"name": "note", "type": "string"}]}
LINKED = {
    "type": "record",
    "name": "Linked",
    "fields": [{"name": "next", "type": ["null", "Linked"]}],
}
DEEP = '{"type":"array","items":' * 300 + '"int"' + "}" * 300


def records(number: int, *fields: str) -> str:
    """Return an Avro union of records, each with fields of the type of the one before."""
    types = ["int", *(f"A{index}" for index in range(number))]
    return json.dumps(
        [
            {"type": "record", "name": name, "fields": [{"name": f, "type": last} for f in fields]}
            for last, name in pairwise(types)
        ]
    )


PROTO3 = 'syntax = "proto3";'
PROTO = f"""{PROTO3}
package shop; // of orders
message Order {{
  enum Kind {{ NONE = 0; GIFT = 1; }}
  string id = 1;
  Kind kind = 2 [deprecated = true];
  repeated Item items = 3;
  map<string, Item> item_names = 4;
  oneof payment {{ int32 cash = 5; string card = 6; }}
  optional int64 total = 7;
  reserved 9, 10 to 12;
  message Item {{ string name = 1; }}
}}"""
PROTO2 = "message Order { required string id = 1; optional int32 count = 2 [default = 4]; }"
PROTO_GOOD = {
    "id": "a",
    "kind": "GIFT",
    "items": [{"name": "b"}],
    "itemNames": {"c": {"name": "d"}},
    "card": "e",
    "total": "7",
}
GOOD = {"id": "a", "count": {"int": 3}}
SETTINGS = {"schemaSettings": {"schema": "projects/p/schemas/order", "encoding": "JSON"}}


def avro(definition: Any) -> dict[str, Any]:
    return {"type": "AVRO", "definition": json.dumps(definition)}


def binary(value: Any) -> bytes:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, fastavro.parse_schema(ORDER), value)
    return file.getvalue()


class PubSub:
    """The service of one project by REST."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.service = PubSubService(
            config=CloudConfig(project="p"),
            store=self.store,
            clock=ManualClock(),
            guard=FakeGuard(),
            minter=FakeMinter(),
            send=FakeTarget().send,
        )
        self.web = Web(
            RestApp(self.service.rpcs(), Calls(Everybody(), MemoryJournal(), no_faults()))
        )

    def ask(self, verb: str, path: str, body: Any = None) -> Any:
        answer = self.web.request(verb, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refusal(self, verb: str, path: str, body: Any = None) -> tuple[int, str]:
        answer = self.web.request(verb, path, json=body)
        return answer.status_code, answer.json()["error"]["message"]

    def make(self, settings: Any = SETTINGS) -> None:
        """Create the schema `order` and the topic `orders`."""
        self.ask("POST", f"{SCHEMAS}?schemaId=order", avro(ORDER))
        self.ask("PUT", TOPIC, settings)


def message(value: Any) -> dict[str, Any]:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return {"messages": [{"data": base64.b64encode(data).decode()}]}


@pytest.fixture
def pubsub() -> Iterator[PubSub]:
    pubsub = PubSub()
    yield pubsub
    pubsub.store.close()


def test_schema_is_made_read_listed_and_deleted(pubsub: PubSub) -> None:
    made = pubsub.ask("POST", f"{SCHEMAS}?schemaId=order", avro(ORDER))
    twice = pubsub.refusal("POST", f"{SCHEMAS}?schemaId=order", avro(ORDER))
    second = pubsub.ask("POST", f"{SCHEMAS}/order:commit", {"schema": avro(NEXT)})
    latest = pubsub.ask("GET", f"{SCHEMAS}/order")
    first = pubsub.ask("GET", f"{SCHEMAS}/order@{made['revisionId']}")
    revisions = pubsub.ask("GET", f"{SCHEMAS}/order:listRevisions")["schemas"]
    [listed] = pubsub.ask("GET", SCHEMAS)["schemas"]
    pubsub.ask("DELETE", f"{SCHEMAS}/order")

    assert (made["name"], twice[0]) == ("projects/p/schemas/order", 409)
    assert (latest, first) == (second, made)
    assert [each["revisionId"] for each in revisions] == [second["revisionId"], made["revisionId"]]
    assert listed["revisionId"] == second["revisionId"]
    assert "definition" not in listed
    assert pubsub.refusal("GET", f"{SCHEMAS}/order")[0] == 404


def test_topic_refuses_messages_that_do_not_fit(pubsub: PubSub) -> None:
    pubsub.make()
    pubsub.ask("PUT", "/v1/projects/p/subscriptions/all", {"topic": "projects/p/topics/orders"})
    status, text = pubsub.refusal("POST", f"{TOPIC}:publish", message({"id": 1, "count": None}))
    pubsub.ask("POST", f"{TOPIC}:publish", message(GOOD))
    pulled = pubsub.ask("POST", "/v1/projects/p/subscriptions/all:pull", {"maxMessages": 5})[
        "receivedMessages"
    ]

    assert (status, "Message failed schema validation" in text) == (400, True)
    [received] = [each["message"] for each in pulled]
    attributes = received["attributes"]
    assert attributes["googclient_schemaencoding"] == "JSON"
    assert attributes["googclient_schemaname"] == "projects/p/schemas/order"
    assert len(attributes["googclient_schemarevisionid"]) == 8


def test_topic_admits_every_revision_in_its_range(pubsub: PubSub) -> None:
    pubsub.make()
    second = pubsub.ask("POST", f"{SCHEMAS}/order:commit", {"schema": avro(NEXT)})
    pubsub.ask("POST", f"{TOPIC}:publish", message(GOOD))
    pubsub.ask("POST", f"{TOPIC}:publish", message(GOOD | {"note": "soon"}))
    settings = SETTINGS["schemaSettings"] | {"firstRevisionId": second["revisionId"]}
    body = {"topic": {"schemaSettings": settings}, "updateMask": "schemaSettings"}
    pubsub.ask("PATCH", TOPIC, body)

    assert pubsub.refusal("POST", f"{TOPIC}:publish", message(GOOD))[0] == 400


def test_topic_of_a_deleted_schema_refuses_messages(pubsub: PubSub) -> None:
    pubsub.make()
    pubsub.ask("DELETE", f"{SCHEMAS}/order")
    pubsub.ask("POST", f"{SCHEMAS}?schemaId=order", avro(ORDER))

    assert pubsub.refusal("POST", f"{TOPIC}:publish", message(GOOD))[0] == 400
    assert pubsub.ask("GET", TOPIC)["schemaSettings"]["schema"] == "_deleted-schema_"


@pytest.mark.parametrize(
    ("encoding", "data", "fits"),
    [
        ("JSON", GOOD, True),
        ("JSON", {"id": "a", "count": None}, True),
        ("JSON", {"id": "a", "count": 3}, False),
        ("JSON", GOOD | {"more": 1}, False),
        ("JSON", {"count": None}, False),
        ("JSON", [], False),
        ("JSON", b"{", False),
        ("JSON", b"\xff", False),
        ("JSON", b"[" * 100_000, False),
        ("BINARY", binary({"id": "a", "count": 3}), True),
        ("BINARY", binary({"id": "a", "count": 3}) + b"x", False),
        ("BINARY", b"\xff" * 20, False),
        ("BINARY", b"", False),
    ],
)
def test_message_is_validated_by_its_encoding(
    pubsub: PubSub, encoding: str, data: Any, fits: bool
) -> None:
    sent = message(data)["messages"][0]["data"]
    body = {"schema": avro(ORDER), "message": sent, "encoding": encoding}
    answer = pubsub.web.post(f"{SCHEMAS}:validateMessage", json=body)

    assert answer.status_code == (200 if fits else 400), answer.text


@pytest.mark.parametrize(
    ("definition", "encoding", "data", "fits"),
    [
        (PROTO, "JSON", PROTO_GOOD, True),
        (PROTO, "JSON", {}, True),
        (PROTO, "JSON", {"id": 1}, False),
        (PROTO, "JSON", {"none": 1}, False),
        (PROTO, "JSON", {"cash": 1, "card": "e"}, False),
        (PROTO, "JSON", [], False),
        (PROTO, "JSON", b"{", False),
        (PROTO, "JSON", b"\xff", False),
        (PROTO, "JSON", b'{"items":[' * 50_000, False),
        (PROTO, "BINARY", b"\x0a\x01a\x38\x07", True),
        (PROTO, "BINARY", b"", True),
        (PROTO, "BINARY", b"\x0a\x05a", False),
        (PROTO, "BINARY", b"\xa2\x06\x01a", False),
        (PROTO2, "JSON", {"id": "a"}, True),
        (PROTO2, "JSON", {"count": 1}, False),
        (PROTO2, "BINARY", b"\x0a\x01a", True),
        (f"{PROTO3} message A {{ ; int32 a = 1; ; }}", "BINARY", b"\x08\x01", True),
        (PROTO2, "BINARY", b"", False),
    ],
)
def test_message_is_validated_by_a_protocol_buffer(
    pubsub: PubSub, definition: str, encoding: str, data: Any, fits: bool
) -> None:
    sent = message(data)["messages"][0]["data"]
    schema = {"type": "PROTOCOL_BUFFER", "definition": definition}
    body = {"schema": schema, "message": sent, "encoding": encoding}
    answer = pubsub.web.post(f"{SCHEMAS}:validateMessage", json=body)

    assert answer.status_code == (200 if fits else 400), answer.text
    assert fits or "failed schema validation" in answer.json()["error"]["message"]


def test_topic_with_a_protocol_buffer_admits_its_messages(pubsub: PubSub) -> None:
    schema = {"type": "PROTOCOL_BUFFER", "definition": PROTO}
    pubsub.ask("POST", f"{SCHEMAS}?schemaId=order", schema)
    pubsub.ask("PUT", TOPIC, SETTINGS)
    pubsub.ask("POST", f"{TOPIC}:publish", message(PROTO_GOOD))
    other = pubsub.refusal("POST", f"{SCHEMAS}/order:commit", {"schema": avro(ORDER)})

    assert pubsub.refusal("POST", f"{TOPIC}:publish", message({"id": 1}))[0] == 400
    assert other == (400, "schema.type must be that of the revisions before.")


@pytest.mark.anyio
async def test_definition_is_parsed_while_other_calls_go_on(
    pubsub: PubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_went_on = threading.Event()
    monkeypatch.setattr(schemas, "_parsed", lambda *_: others_went_on.wait(timeout=60))
    request = schemas.types.ValidateSchemaRequest.pb()(parent="projects/p")
    request.schema.type_, request.schema.definition = 1, PROTO
    rpcs = {each.method.rpartition("/")[2]: each for each in pubsub.service.rpcs()}
    validate: Any = rpcs["ValidateSchema"].handle

    parsing = asyncio.create_task(validate(request, ApiCall(ApiCaller("a@b.c"))))
    await asyncio.sleep(0)
    assert not parsing.done()
    others_went_on.set()
    await parsing


@pytest.mark.anyio
async def test_restarted_service_parses_before_others_publish(pubsub: PubSub) -> None:
    await asyncio.to_thread(pubsub.make)
    schemas._parsed.cache_clear()
    await pubsub.service.start()
    before = schemas._parsed.cache_info()
    pubsub.service.publish("projects/p/topics/orders", json.dumps(GOOD).encode(), {})
    after = schemas._parsed.cache_info()
    await pubsub.service.stop()

    assert (before.misses, after.misses, after.hits) == (1, 1, before.hits + 1)


def test_revision_is_rolled_back_and_deleted(pubsub: PubSub) -> None:
    first = pubsub.ask("POST", f"{SCHEMAS}?schemaId=order", avro(ORDER))
    second = pubsub.ask("POST", f"{SCHEMAS}/order:commit", {"schema": avro(NEXT)})
    back = {"revisionId": first["revisionId"]}
    third = pubsub.ask("POST", f"{SCHEMAS}/order:rollback", back)
    named = f"{SCHEMAS}/order@{{}}:deleteRevision".format
    latest = pubsub.ask("DELETE", named(first["revisionId"]))
    fourth = pubsub.ask("POST", f"{SCHEMAS}/order:commit", {"schema": avro(NEXT)})
    revisions = pubsub.ask("GET", f"{SCHEMAS}/order:listRevisions")["schemas"]
    for each in (second, third):
        pubsub.ask("DELETE", named(each["revisionId"]))

    assert third["definition"] == first["definition"]
    assert third["revisionId"] != first["revisionId"]
    assert latest == third
    assert [each["revisionId"] for each in revisions] == [
        each["revisionId"] for each in (fourth, third, second)
    ]
    assert pubsub.refusal("POST", f"{SCHEMAS}/order:rollback", back)[0] == 404
    assert pubsub.refusal("DELETE", named(fourth["revisionId"]))[0] == 400


@pytest.mark.parametrize(
    ("schema", "status", "text"),
    [
        ({"type": "AVRO", "definition": "{"}, 400, "not a valid Avro schema"),
        (
            avro({"type": "record", "name": "A", "fields": [{"name": "x", "type": "Nope"}]}),
            400,
            "Nope",
        ),
        (avro({"type": "array", "items": "null"}), 400, "values of null have no bytes"),
        (avro(5), 400, "not a valid Avro schema"),
        (avro(LINKED), 400, "Linked contains itself"),
        ({"type": "AVRO", "definition": DEEP}, 400, "more than 200 levels"),
        ({"type": "AVRO", "definition": "[" * 100_000}, 400, "maximum recursion depth"),
        ({"type": "AVRO", "definition": records(201, "a")}, 400, "more than 200 levels of types"),
        ({"type": "AVRO", "definition": records(30, "a", "b")}, 400, "more than 20000 types"),
        ({"type": "AVRO", "definition": "9" * 5000}, 400, "Exceeds the limit"),
        ({"type": "AVRO"}, 400, "schema.definition must have"),
        ({"definition": "{}"}, 400, "schema.type must be AVRO"),
        *(
            ({"type": "PROTOCOL_BUFFER", "definition": definition}, 400, text)
            for definition, text in (
                ("", "schema.definition must have"),
                ("x" * 60_000, "schema.definition must have"),
                ("message {", "line 1, column 9"),
                (f"{PROTO3} message A {{}} message B {{}}", "2 top-level messages"),
                ('import "b.proto"; message A {}', "import is not possible"),
                (f"{PROTO3} message A {{ B b = 1; }}", "couldn't resolve name 'B'"),
                (f"{PROTO3} message A {{ int32 a = 1; int32 b = 1; }}", "duplicate field number"),
                (f"{PROTO3} message A {{ enum E {{ X = 1; }} }}", "first value must be zero"),
                ("message A { int32 a = 1; }", "needs optional, required or repeated"),
                (PROTO3 + "message A {" * 200 + "}" * 200, "too many levels"),
                ('edition = "2023"; message A {}', "editions are not emulated"),
            )
        ),
    ],
)
def test_invalid_schema_is_refused(
    pubsub: PubSub, schema: dict[str, Any], status: int, text: str
) -> None:
    found = pubsub.refusal("POST", f"{SCHEMAS}:validate", {"schema": schema})

    assert (found[0], text in found[1]) == (status, True)


@pytest.mark.parametrize(
    ("change", "status"),
    [({"schema": "projects/p/schemas/none"}, 404), ({"encoding": 0}, 400), ({"schema": "x"}, 400)],
)
def test_topic_with_invalid_schema_settings_is_refused(
    pubsub: PubSub, change: dict[str, Any], status: int
) -> None:
    pubsub.ask("POST", f"{SCHEMAS}?schemaId=order", avro(ORDER))
    settings = {"schemaSettings": SETTINGS["schemaSettings"] | change}

    assert pubsub.refusal("PUT", TOPIC, settings)[0] == status


def test_array_of_claimed_length_does_not_take_memory() -> None:
    schema = parse_definition('{"type": "array", "items": "int"}')

    with pytest.raises(InvalidArgument):
        check_binary(schema, b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\x02")
