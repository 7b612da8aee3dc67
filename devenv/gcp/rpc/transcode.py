"""HTTP and JSON to protocol buffers and back, by google.api.http rules.

A JSON name or a query parameter that the message does not have is refused by name, as by Google.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.rpc.body import parse_object

# https://cloud.google.com/apis/docs/system-parameters: they are no fields of the request.
_PARAMETERS = {
    *("access_token", "alt", "callback", "fields", "key", "oauth_token", "prettyPrint"),
    *("quotaUser", "uploadType", "upload_protocol", "userProject", "xgafv", "userIp"),
}
_SYSTEM = _PARAMETERS | {f"${name}" for name in _PARAMETERS} | {"$.xgafv", "$unique"}
_UNKNOWN = re.compile(r'has no field named ("[^"]{1,200}")')
_DEEPEST = 100


def request(
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
        _fill(target, {name: sent[name] for name in sent if name not in rpc.unpublished})
    if fields := _tree(message.DESCRIPTOR, query):
        _fill(message, fields)
    for name, value in path.items():
        *parents, leaf = name.split(".")
        target = message
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, leaf, value)
    return message


def response(message: Message, *, enum_numbers: bool) -> bytes:
    """Return `message` as JSON; `enum_numbers` is `$alt=json;enum-encoding=int`."""
    value = json_format.MessageToDict(message, use_integers_for_enums=enum_numbers)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _fill(message: Message, value: Mapping[str, Any]) -> None:
    try:
        json_format.ParseDict(value, message, max_recursion_depth=_DEEPEST)
    except (json_format.ParseError, RecursionError) as error:
        text = str(error)
        if unknown := _UNKNOWN.search(text):
            text = f"Unknown name {unknown[1]}: Cannot find field."
        raise InvalidArgument(f"Invalid JSON payload received. {text}") from error


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


def _scalar(field: FieldDescriptor, text: str) -> Any:
    if field.cpp_type != FieldDescriptor.CPPTYPE_BOOL:
        return text
    if text.lower() not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"Invalid value at '{field.name}' (TYPE_BOOL), \"{text}\"")
    return text.lower() in ("true", "1")


_TOKEN = re.compile(r"\{(?P<field>[\w.]+)(?:=(?P<pattern>[^}]+))?\}|(?P<wild>\*\*?)")


class PathTemplate:
    """A compiled path template; fields may be nested (`queue.name`)."""

    def __init__(self, uri: str) -> None:
        self._fields: list[str] = []
        self._regex = re.compile(self._compile(uri))
        # `/jobs/*:run` would be swallowed by `/jobs/*`, so verbs are to be tried first.
        self.has_verb = ":" in uri.rpartition("}")[2]

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the fields that `path` fills, or None if it is not of this shape."""
        found = self._regex.fullmatch(path)
        return None if found is None else dict(zip(self._fields, found.groups(), strict=True))

    def _compile(self, uri: str) -> str:
        parts, end = [], 0
        for token in _TOKEN.finditer(uri):
            parts += [re.escape(uri[end : token.start()]), self._part(token)]
            end = token.end()
        return "".join([*parts, re.escape(uri[end:])])

    def _part(self, token: re.Match[str]) -> str:
        if token["wild"]:
            return _segments(token["wild"])
        self._fields.append(token["field"])
        return f"({_segments(token['pattern'] or '*')})"


def _segments(pattern: str) -> str:
    escaped = re.escape(pattern)
    return escaped.replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
