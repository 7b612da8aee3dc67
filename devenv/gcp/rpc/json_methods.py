"""Requests and answers of methods that have no published protocol buffers: parameters and JSON."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
    struct_pb2,
)

from devenv.gcp.rpc.rest import with_integers

Json: TypeAlias = dict[str, Any]

JsonAnswer: Any = struct_pb2.Struct
_TYPES = {str: 9, int: 5, bool: 8}


def json_request(package: str, name: str, fields: Mapping[str, type]) -> Any:
    """Return a message class with parameters of the types str, int and bool, and JSON as its `body`."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"devenv/{package}/{name}.proto",
        package=f"devenv.{package}",
        syntax="proto3",
        dependency=["google/protobuf/struct.proto"],
    )
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        message.field.add(name=field, number=number, type=_TYPES[kind], label=1)
    struct = ".google.protobuf.Struct"
    message.field.add(name="body", number=len(fields) + 1, type=11, label=1, type_name=struct)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"devenv.{package}.{name}"))


def body_of(request: Any) -> Json:
    """Return the JSON that a request was sent with."""
    value: Json = with_integers(json_format.MessageToDict(request.body))
    return value


def json_answer(value: Json) -> Any:
    """Return JSON as the message that carries it."""
    answer = struct_pb2.Struct()
    answer.update(value)
    return answer


def kept(value: Json) -> bytes:
    """Return JSON as the store keeps it."""
    return json.dumps(value, separators=(",", ":")).encode()


def texts(*names: str) -> dict[str, type]:
    """Return parameters of texts for `json_request`."""
    return dict.fromkeys(names, str)


def listed(values: Iterable[bytes]) -> list[Json]:
    """Return what `kept` made of records."""
    return [json.loads(value) for value in values]
