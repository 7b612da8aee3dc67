"""google.pubsub.v1.SchemaService: schemas with their revisions, and the messages that they admit.

Schemas are Avro or protocol buffers. See
https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1#schemaservice.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, ApiCaller, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from devenv.gcp.messages import page, page_in_order, set_moment
from devenv.gcp.pubsub import avro
from devenv.gcp.pubsub.rules import PubsubMessage, PubSubNames
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.store import Store

types = client_types("google.pubsub_v1")

Schema: Any = types.Schema.pb()
DELETED_SCHEMA = "_deleted-schema_"
_AVRO, _PROTOBUF = 2, 1
_JSON, _BINARY = 1, 2
_BASIC, _FULL = 1, 2
_ENCODINGS = {_JSON: "JSON", _BINARY: "BINARY"}
_MOST_PAGE, _MOST_REVISIONS = 1000, 20
_ONE, _MANY = "/v1/{name=projects/*/schemas/*}", "/v1/{parent=projects/*}/schemas"


class PubSubSchemas:
    """The schemas of one project, and their methods; `deleted` gets the name of one that is gone.

    A row of the table is a revision, under `NAME@NUMBER`. Definitions are parsed in a thread, one
    after the other: that of a long protocol buffer takes seconds.
    """

    def __init__(
        self,
        names: PubSubNames,
        guard: Guard,
        store: Store,
        clock: Clock,
        deleted: Callable[[str], None],
    ) -> None:
        self._names = names
        self._guard = guard
        self._clock = clock
        self._table = store.table("pubsub_schemas")
        self._deleted = deleted
        self._parsing = asyncio.Lock()

    def rpcs(self) -> Iterator[Rpc]:
        for name, response, handle, rule in (
            ("CreateSchema", Schema, self.create, HttpRule("POST", _MANY, "schema")),
            ("GetSchema", Schema, self.get, HttpRule("GET", _ONE)),
            (
                *("ListSchemas", types.ListSchemasResponse.pb(), self.list_schemas),
                HttpRule("GET", _MANY),
            ),
            (
                *("ListSchemaRevisions", types.ListSchemaRevisionsResponse.pb()),
                self.list_revisions,
                HttpRule("GET", f"{_ONE}:listRevisions"),
            ),
            ("CommitSchema", Schema, self.commit, HttpRule("POST", f"{_ONE}:commit", "*")),
            ("RollbackSchema", Schema, self.rollback, HttpRule("POST", f"{_ONE}:rollback", "*")),
            (
                *("DeleteSchemaRevision", Schema, self.delete_revision),
                HttpRule("DELETE", f"{_ONE}:deleteRevision"),
            ),
            ("DeleteSchema", empty_pb2.Empty, self.delete, HttpRule("DELETE", _ONE)),
            (
                *("ValidateSchema", types.ValidateSchemaResponse.pb(), self.validate),
                HttpRule("POST", f"{_MANY}:validate", "*"),
            ),
            (
                *("ValidateMessage", types.schema.ValidateMessageResponse.pb()),
                self.validate_message,
                HttpRule("POST", f"{_MANY}:validateMessage", "*"),
            ),
        ):
            request = getattr(types.schema, f"{name}Request").pb()
            yield Rpc(f"google.pubsub.v1.SchemaService/{name}", request, response, handle, (rule,))

    async def create(self, request: Any, call: ApiCall) -> Any:
        project = self._names.project(request.parent)
        self._allow(call.caller, "create", project)
        name = self._names.schema(f"{project}/schemas/{request.schema_id}")
        await self._check(request.schema)
        if self._revisions(name):
            short = name.rpartition("/")[2]
            raise AlreadyExists(f"Resource already exists in the project (resource={short}).")
        return self._add(name, request.schema)

    async def get(self, request: Any, call: ApiCall) -> Any:
        """Return the latest revision, or that of `NAME@REVISION`."""
        name, _, revision = request.name.partition("@")
        found = self._existing(name, call, "get")
        chosen = _revision(found, revision) if revision else found[-1]
        return _shown(chosen, request.view or _FULL)

    async def list_schemas(self, request: Any, call: ApiCall) -> Any:
        project = self._names.project(request.parent)
        self._allow(call.caller, "list", project)
        latest = {key.partition("@")[0]: value for key, value in self._table.scan()}
        names, token = page(
            latest, size=request.page_size, token=request.page_token, most=_MOST_PAGE
        )
        schemas = [
            _shown(Schema.FromString(latest[each]), request.view or _BASIC) for each in names
        ]
        return types.ListSchemasResponse.pb()(schemas=schemas, next_page_token=token)

    async def list_revisions(self, request: Any, call: ApiCall) -> Any:
        """Return the revisions of a schema, the latest first."""
        found = self._existing(request.name, call, "listRevisions")
        known = {each.revision_id: each for each in reversed(found)}
        chosen, token = page_in_order(list(known), request, most=_MOST_PAGE)
        schemas = [_shown(known[each], request.view or _BASIC) for each in chosen]
        return types.ListSchemaRevisionsResponse.pb()(schemas=schemas, next_page_token=token)

    async def commit(self, request: Any, call: ApiCall) -> Any:
        name = self._existing(request.name, call, "commit")[0].name
        await self._check(request.schema)
        found = self._found(name)
        if request.schema.type_ != found[-1].type_:
            raise InvalidArgument("schema.type must be that of the revisions before.")
        if len(found) >= _MOST_REVISIONS:
            raise FailedPrecondition(f"A schema has at most {_MOST_REVISIONS} revisions.")
        return self._add(found[0].name, request.schema)

    async def rollback(self, request: Any, call: ApiCall) -> Any:
        """Make a new revision with the definition of an earlier one."""
        found = self._existing(request.name, call, "rollback")
        chosen = _revision(found, request.revision_id)
        if len(found) >= _MOST_REVISIONS:
            raise FailedPrecondition(f"A schema has at most {_MOST_REVISIONS} revisions.")
        return self._add(found[0].name, chosen)

    async def delete_revision(self, request: Any, call: ApiCall) -> Any:
        """Delete one revision, `NAME@REVISION`, but not the last; return the schema as it is then."""
        name, _, revision = request.name.partition("@")
        found = self._existing(name, call, "delete")
        chosen = _revision(found, revision)
        if len(found) == 1:
            raise FailedPrecondition(
                f"{revision} is the only revision of the schema; delete the schema itself."
            )
        for key, value in list(self._table.scan(f"{found[0].name}@")):
            if Schema.FromString(value).revision_id == chosen.revision_id:
                self._table.delete(key)
        return self._revisions(found[0].name)[-1]

    async def delete(self, request: Any, call: ApiCall) -> Any:
        """Delete a schema; its topics refuse messages from then on."""
        [first, *_] = self._existing(request.name, call, "delete")
        for key, _ in list(self._table.scan(f"{first.name}@")):
            self._table.delete(key)
        self._deleted(first.name)
        return empty_pb2.Empty()

    async def validate(self, request: Any, call: ApiCall) -> Any:
        self._allow(call.caller, "validate", self._names.project(request.parent))
        await self._check(request.schema)
        return types.ValidateSchemaResponse.pb()()

    async def validate_message(self, request: Any, call: ApiCall) -> Any:
        self._allow(call.caller, "validate", self._names.project(request.parent))
        if request.WhichOneof("schema_spec") == "schema":
            schema = request.schema
        else:
            schema = self._existing(request.name, call, "get")[-1]
        await self._check(schema)
        _check_data(schema, request.encoding, request.message)
        return types.schema.ValidateMessageResponse.pb()()

    def check_settings(self, topic: Any, caller: ApiCaller) -> None:
        """Refuse a topic whose schema it cannot have. Raises CloudError."""
        if not topic.HasField("schema_settings"):
            return
        settings = topic.schema_settings
        settings.schema = self._names.schema(settings.schema)
        self._allow(caller, "attach", settings.schema)
        found = self._revisions(settings.schema)
        if not found:
            short = settings.schema.rpartition("/")[2]
            raise NotFound(f"Resource not found (resource={short}).")
        if settings.encoding not in _ENCODINGS:
            raise InvalidArgument("schema_settings.encoding must be JSON or BINARY.")
        ids = {each.revision_id for each in found}
        for key in ("first_revision_id", "last_revision_id"):
            if (wanted := getattr(settings, key)) and wanted not in ids:
                raise NotFound(f"schema_settings.{key} {wanted[:40]!r} is not a revision.")

    async def prepare(self, topic: Any) -> None:
        """Parse the schema of a topic before `admitted` needs it."""
        await self._parse(self._revisions_of(topic))

    def admitted(self, topic: Any, messages: Iterable[Any]) -> Sequence[Any]:
        """Return messages as a topic with a schema publishes them. Raises InvalidArgument."""
        if not topic.HasField("schema_settings"):
            return list(messages)
        settings = topic.schema_settings
        revisions = self._revisions_of(topic)
        if not revisions:
            raise InvalidArgument(f"The schema of {topic.name} is deleted.")
        return [_admitted(message, settings, revisions) for message in messages]

    def _add(self, name: str, given: Any) -> Any:
        made = Schema(name=name, type_=given.type_, definition=given.definition)
        made.revision_id = secrets.token_hex(4)
        set_moment(made.revision_create_time, self._clock.now())
        keys = [key for key, _ in self._table.scan(f"{name}@")]
        number = int(keys[-1].rpartition("@")[2]) + 1 if keys else 0
        self._table.put(f"{name}@{number:04d}", made.SerializeToString())
        return made

    def _revisions(self, name: str) -> list[Any]:
        return [Schema.FromString(value) for _, value in self._table.scan(f"{name}@")]

    def _revisions_of(self, topic: Any) -> list[Any]:
        """Return the revisions that the messages of a topic may fit."""
        if not topic.HasField("schema_settings"):
            return []
        settings = topic.schema_settings
        return _within(self._revisions(settings.schema), settings)

    async def _check(self, given: Any) -> None:
        """Refuse a schema that is not valid. Raises CloudError."""
        if given.type_ not in (_AVRO, _PROTOBUF):
            raise InvalidArgument("schema.type must be AVRO or PROTOCOL_BUFFER.")
        await self._parse([given])

    async def _parse(self, schemas: Sequence[Any]) -> None:
        """Parse definitions, which are then known. Raises InvalidArgument."""
        wanted = [(each.type_, each.definition) for each in schemas]
        if wanted:
            async with self._parsing:
                await asyncio.to_thread(lambda: [_parsed(*each) for each in wanted])

    def _existing(self, text: str, call: ApiCall, verb: str) -> list[Any]:
        """Return the revisions of a schema, the first one first. Raises CloudError."""
        name = self._names.schema(text)
        self._allow(call.caller, verb, name)
        return self._found(name)

    def _found(self, name: str) -> list[Any]:
        if not (found := self._revisions(name)):
            raise NotFound(f"Resource not found (resource={name.rpartition('/')[2]}).")
        return found

    def _allow(self, caller: ApiCaller, verb: str, resource: str) -> None:
        self._guard.require(caller, f"pubsub.schemas.{verb}", resource)


@lru_cache(maxsize=1024)  # revisions
def _parsed(kind: int, definition: str) -> Any:
    return _language(kind).parse_definition(definition)


def _language(kind: int) -> Any:
    """Return the module for schemas of a type."""
    if kind == _AVRO:
        return avro
    # The parser takes longer to import than most programs need it.
    from devenv.gcp.pubsub import protobuf_schema  # noqa: PLC0415

    return protobuf_schema


def _check_data(schema: Any, encoding: int, data: bytes) -> None:
    if encoding not in _ENCODINGS:
        raise InvalidArgument("encoding must be JSON or BINARY.")
    language = _language(schema.type_)
    check = language.check_json if encoding == _JSON else language.check_binary
    check(_parsed(schema.type_, schema.definition), data)


def _within(revisions: list[Any], settings: Any) -> list[Any]:
    """Return the revisions from the first to the last one that a topic admits."""
    ids = [each.revision_id for each in revisions]
    first, last = settings.first_revision_id, settings.last_revision_id
    begin = ids.index(first) if first in ids else 0
    return revisions[begin : ids.index(last) + 1 if last in ids else None]


def _admitted(message: Any, settings: Any, revisions: list[Any]) -> Any:
    """Return a message with the attributes of the latest revision that it fits."""
    problem: InvalidArgument | None = None
    for revision in reversed(revisions):
        try:
            _check_data(revision, settings.encoding, message.data)
        except InvalidArgument as error:
            problem = problem or error
            continue
        full = PubsubMessage()
        full.CopyFrom(message)
        full.attributes["googclient_schemaencoding"] = _ENCODINGS[settings.encoding]
        full.attributes["googclient_schemaname"] = revision.name
        full.attributes["googclient_schemarevisionid"] = revision.revision_id
        return full
    assert problem is not None
    raise problem


def _revision(found: list[Any], revision_id: str) -> Any:
    """Return the revision with this id. Raises NotFound."""
    for each in found:
        if each.revision_id == revision_id:
            return each
    short = found[0].name.rpartition("/")[2]
    raise NotFound(f"Resource not found (resource={short}@{revision_id[:40]}).")


def _shown(schema: Any, view: int) -> Any:
    if view == _BASIC:
        schema.ClearField("definition")
    return schema
