"""The REST side of the same methods: a web application over their HTTP rules.

HTTP and JSON become protocol buffers and back, by the rules of google.api.http. A JSON name or a
query parameter that the message does not have is refused by name, as by Google. JSON requests may
be sent with `Content-Encoding: gzip`, the default of Java's clients.
"""

import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message as AsgiMessage, Receive, Scope, Send

from devenv.gcp.errors import CloudError, InvalidArgument, NotFound, Unimplemented
from devenv.gcp.faults import AnswerLost
from devenv.gcp.rpc import HttpRule, Rpc, StreamRpc
from devenv.gcp.rpc.calls import Calls, envelope, lists_errors
from devenv.gcp.rpc.hosts import service_at, services_of
from devenv.gcp.rpc.path_template import PathTemplate

_PIECE = 1 << 20


def gunzipped(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` that decompresses the body if its Content-Encoding says gzip.

    It raises InvalidArgument for another coding, and for a body that is not what it says. A message
    has at most 1 MiB, so that its reader can stop before much has come of few bytes.
    """
    codings = [value for name, value in scope["headers"] if name == b"content-encoding"]
    coding = b",".join(codings).strip().lower()
    if coding in (b"", b"identity"):
        return receive
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
    message: AsgiMessage = {}
    is_full = False  # the last piece has not all that came of the message

    async def decompressed() -> AsgiMessage:
        nonlocal message, is_full
        if coding != b"gzip":
            name = coding.decode("latin-1")[:40]
            raise InvalidArgument(f"Content-Encoding '{name}' is not supported; use gzip or none.")
        packed = unpack.unconsumed_tail
        if not is_full:
            message = await receive()
            if message["type"] != "http.request":
                return message
            packed = message.get("body", b"")
        try:
            body = unpack.decompress(packed, _PIECE)
        except zlib.error as error:
            raise InvalidArgument("The request body is not valid gzip.") from error
        is_full = len(body) == _PIECE and not unpack.eof
        has_more = is_full or message.get("more_body", False)
        if not has_more and not unpack.eof:
            raise InvalidArgument("The gzip request body ends too early.")
        return {**message, "body": body, "more_body": has_more}

    return decompressed


async def read_body(request: Request, *, limit: int) -> bytes:
    """Return the body. Raises InvalidArgument as soon as it is longer than `limit` bytes."""
    request = Request(request.scope, gunzipped(request.scope, request.receive))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise InvalidArgument(f"Request payload size exceeds the limit: {limit} bytes.")
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, an empty one if there is nothing. Raises InvalidArgument."""
    try:
        value = json.loads(body or b"{}", parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("Invalid JSON payload received.") from error
    if not isinstance(value, dict):
        raise InvalidArgument("Invalid JSON payload received. Root element must be a message.")
    return value


def _finite(text: str) -> float:
    """Return the number of a JSON text. Raises ValueError for NaN, and for one that is infinite."""
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


# https://cloud.google.com/apis/docs/system-parameters: they are no fields of the request.
_PARAMETERS = {
    *("access_token", "alt", "callback", "fields", "key", "oauth_token", "prettyPrint"),
    *("quotaUser", "uploadType", "upload_protocol", "userProject", "xgafv", "userIp"),
}
_SYSTEM = _PARAMETERS | {f"${name}" for name in _PARAMETERS} | {"$.xgafv", "$unique"}
_UNKNOWN = re.compile(r'has no field named ("[^"]{1,200}")')
_DEEPEST = 100
_MASK = "google.protobuf.FieldMask"


def _build_request(
    rpc: Rpc,
    binding: HttpRule,
    *,
    path: Mapping[str, str],
    query: Iterable[tuple[str, str]],
    body: bytes,
) -> Message:
    """Build the message of `rpc` from the parts of an HTTP request. Raises InvalidArgument."""
    message = rpc.request()
    if binding.body:
        target = message if binding.body == "*" else getattr(message, binding.body)
        sent = parse_object(body)
        known = {name: sent[name] for name in sent if name not in rpc.unpublished}
        fill(target, _in_names_of_json(target.DESCRIPTOR, known))
    if fields := _tree(message.DESCRIPTOR, query):
        fill(message, fields)
    for name, value in path.items():
        *parents, leaf = name.split(".")
        target = message
        for parent in parents:
            target = getattr(target, parent)
        if isinstance(getattr(target, leaf), str):
            setattr(target, leaf, value)
        else:  # a number
            fill(target, {leaf: value})
    return message


def _dump_response(message: Message, *, enum_numbers: bool) -> bytes:
    """Return `message` as JSON; `enum_numbers` is `$alt=json;enum-encoding=int`."""
    value = json_format.MessageToDict(message, use_integers_for_enums=enum_numbers)
    if _holds_struct(message.DESCRIPTOR):
        value = with_integers(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@cache
def _holds_struct(descriptor: Descriptor) -> bool:
    """Return whether a message is a Struct or may have one somewhere in it."""
    name = Struct.DESCRIPTOR.full_name
    below = (each.message_type for each in _fields_of(descriptor))
    return descriptor.full_name == name or any(each and each.full_name == name for each in below)


@cache
def _holds_bytes(descriptor: Descriptor) -> bool:
    return any(each.type == FieldDescriptor.TYPE_BYTES for each in _fields_of(descriptor))


def _fields_of(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    """Yield the fields of a message and of all that may be in it."""
    seen, waiting = {descriptor.full_name}, [descriptor]
    while waiting:
        for field in waiting.pop().fields:
            yield field
            inner = field.message_type
            if inner is not None and inner.full_name not in seen:
                seen.add(inner.full_name)
                waiting.append(inner)


def with_integers(value: Any) -> Any:
    """Return the JSON of a Struct, which knows no integers, with whole numbers as such."""
    if isinstance(value, dict):
        return {key: with_integers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [with_integers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def fill(message: Message, value: Mapping[str, Any]) -> None:
    """Fill a message from JSON. Raises InvalidArgument, which names an unknown field."""
    try:
        json_format.ParseDict(value, message, max_recursion_depth=_DEEPEST)
    except (json_format.ParseError, RecursionError, UnicodeError) as error:
        text = str(error)
        if unknown := _UNKNOWN.search(text):
            text = f"Unknown name {unknown[1]}: Cannot find field."
        raise InvalidArgument(f"Invalid JSON payload received. {text}") from error
    if _holds_bytes(message.DESCRIPTOR):
        _check_bytes(message.DESCRIPTOR, value, "")


def _check_bytes(descriptor: Descriptor, value: object, path: str) -> None:
    """Refuse what is no base64 in JSON that fits a message: the parser skips its other characters."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        field = _field(descriptor, name)
        if field is None or inner is None:
            continue
        at = f"{path}.{field.name}".lstrip(".")
        items = inner if isinstance(inner, list) else [inner]
        if field.type == FieldDescriptor.TYPE_BYTES:
            wrong = next((text for text in items if not _BASE64.fullmatch(text)), None)
            if wrong is not None:
                raise InvalidArgument(
                    f"Invalid value at '{at}' (TYPE_BYTES), Base64 decoding failed for \"{wrong[:100]}\""
                )
        elif field.message_type is not None:
            for item in items:
                _check_bytes(field.message_type, item, at)


def _tree(descriptor: Descriptor, query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return query parameters such as `job.template.taskCount=2` as the JSON that they mean."""
    tree: dict[str, Any] = {}
    for key, text in query:
        if key not in _SYSTEM:
            _graft(tree, descriptor, key.split("."), text)
    return tree


def _graft(tree: dict[str, Any], descriptor: Descriptor, names: list[str], text: str) -> None:
    field = _field(descriptor, names[0])
    if field is None:
        raise InvalidArgument(
            f'Invalid JSON payload received. Unknown name "{names[0][:100]}": Cannot bind query '
            f"parameter. Field '{names[0][:100]}' could not be found in request message."
        )
    if len(names) > 1:
        if field.message_type is not None and not field.is_repeated:
            branch = tree.setdefault(field.name, {})
            if isinstance(branch, dict):
                _graft(branch, field.message_type, names[1:], text)
    elif field.is_repeated:
        tree.setdefault(field.name, []).append(_scalar(field, text))
    else:
        tree[field.name] = _scalar(field, text)


def _field(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    by_json = descriptor.fields_by_camelcase_name.get(name)
    return by_json or descriptor.fields_by_name.get(name)


def _is_mask(field: FieldDescriptor | None) -> bool:
    return bool(field and field.message_type and field.message_type.full_name == _MASK)


def json_names(text: str) -> str:
    """Return a mask in names of JSON: Google's documentation and clients write either kind."""
    return re.sub("_([a-z])", lambda letter: letter[1].upper(), text)


def _in_names_of_json(descriptor: Descriptor, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a request with its masks as the parser wants them."""
    return {
        name: json_names(each)
        if isinstance(each, str) and _is_mask(_field(descriptor, name))
        else each
        for name, each in value.items()
    }


def _scalar(field: FieldDescriptor, text: str) -> Any:
    if _is_mask(field):
        return json_names(text)
    if field.cpp_type != FieldDescriptor.CPPTYPE_BOOL:
        return text
    if text.lower() not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"Invalid value at '{field.name}' (TYPE_BOOL), \"{text}\"")
    return text.lower() in ("true", "1")


_BASE64 = re.compile("[A-Za-z0-9+/_-]*={0,2}")


# google-auth asks for it in the background, and works without it.
_KNOWN_MISS = "/allowedLocations"
_JSON = "application/json; charset=UTF-8"
_LARGEST = 10 << 20
_MOST_PARAMETERS = 1000


@dataclass(frozen=True, slots=True)
class _Route:
    rpc: Rpc
    binding: HttpRule
    template: PathTemplate
    services: frozenset[str]


class RestApp:
    """An ASGI application that serves `rpcs`."""

    def __init__(self, rpcs: Iterable[Rpc | StreamRpc], calls: Calls) -> None:
        self._calls = calls
        self._routes: dict[str, list[_Route]] = {}
        for rpc in rpcs:
            if isinstance(rpc, StreamRpc):
                continue
            for binding in rpc.bindings:
                services = services_of(rpc.method)
                route = _Route(rpc, binding, PathTemplate(binding.uri), services)
                self._routes.setdefault(binding.verb, []).append(route)
        for routes in self._routes.values():
            routes.sort(key=lambda route: not route.template.has_verb)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except AnswerLost:
            await broken_off(send)
            return
        except CloudError as error:
            response = failure(error, self._service(request))
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    def _service(self, request: Request) -> str:
        """Return the service of a request, if its errors have a list."""
        services: Iterable[str] = [service_at(request.headers.get("host", ""))]
        if not any(services):
            services = self._services_of_path(request.method, request.url.path)
        alt = request.query_params.get("alt", "")
        return next((each for each in services if lists_errors(each, alt)), "")

    def _services_of_path(self, verb: str, path: str) -> frozenset[str]:
        for route in self._routes.get(verb, ()):
            if route.template.match(path) is not None:
                return route.services
        return frozenset()

    async def _answer(self, request: Request) -> Response:
        host = request.headers.get("host", "")
        route, path = self._find(request.method, request.url.path, host)
        content, query, headers = b"", [], _headers(request)
        try:
            query = _query(request)
            if route.binding.body:
                content = await read_body(request, limit=_LARGEST)
        except InvalidArgument as error:
            self._calls.refuse(route.rpc, headers, error)
            raise
        message = await self._calls.run(
            route.rpc,
            headers,
            lambda: _build_request(route.rpc, route.binding, path=path, query=query, body=content),
        )
        numbers = any(k in ("$alt", "alt") and "enum-encoding=int" in v for k, v in query)
        return Response(_dump_response(message, enum_numbers=numbers), media_type=_JSON)

    def _find(self, verb: str, path: str, host: str) -> tuple[_Route, Mapping[str, str]]:
        service = service_at(host)
        for route in self._routes.get(verb, ()):
            if service and service not in route.services:
                continue
            if (fields := route.template.match(path)) is not None:
                return route, fields
        if not path.endswith(_KNOWN_MISS):
            self._calls.miss(f"{host.partition('.')[0]} {verb} {path[:200]}")
        if path.startswith("/apis/"):
            raise Unimplemented(f"{verb} {path[:200]} of the v1 API of Cloud Run is not emulated.")
        raise NotFound(f"{verb} {path[:200]} is not an emulated method of {host[:200]}.")


BREAK_OFF = "http.response.break_off"
"""The type of an ASGI message of ours, on which the server breaks the connection off."""


async def broken_off(send: Send) -> None:
    """Break a connection off, whether its answer has begun or not."""
    await send({"type": BREAK_OFF})


def failure(error: CloudError, service: str = "") -> Response:
    """Return `error` as a response of Google's REST APIs, in the form of a service."""
    return Response(json.dumps(envelope(error, service)), error.http, media_type=_JSON)


def _query(request: Request) -> list[tuple[str, str]]:
    try:
        return parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError as error:
        raise InvalidArgument(f"The request has over {_MOST_PARAMETERS} parameters.") from error


def _headers(request: Request) -> dict[str, str]:
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in request.headers.raw}
