"""Protocol buffer schemas of Pub/Sub: definitions, and messages in both encodings.

A definition is a .proto file with one message at its top level and without imports. See
https://cloud.google.com/pubsub/docs/schemas and https://protobuf.dev/reference/protobuf/proto3-spec/.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from antlr4.error.ErrorListener import ErrorListener
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from proto_schema_parser import ast
from proto_schema_parser.parser import Parser

from devenv.gcp.errors import InvalidArgument

LONGEST_DEFINITION = 50_000  # bytes: the parser needs up to a few seconds for so many
_DEEPEST = 100
_TYPES = {
    name.removeprefix("TYPE_").lower(): number
    for name, number in FieldDescriptorProto.Type.items()
    if name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")
}
_LABELS = {
    ast.FieldCardinality.OPTIONAL: FieldDescriptorProto.LABEL_OPTIONAL,
    ast.FieldCardinality.REPEATED: FieldDescriptorProto.LABEL_REPEATED,
    ast.FieldCardinality.REQUIRED: FieldDescriptorProto.LABEL_REQUIRED,
}
# Parts without effect on the messages that fit.
_IGNORED = (ast.Comment, ast.EnumReserved, ast.Option, ast.Reserved)


def parse_definition(text: str) -> type[Message]:
    """Return the message class of a definition. Raises InvalidArgument."""
    if not text or len(text.encode()) > LONGEST_DEFINITION:
        raise InvalidArgument(
            f"schema.definition must have 1 to {LONGEST_DEFINITION} bytes, as far as it is emulated "
            "for protocol buffers."
        )
    try:
        file = _file(Parser(setup_lexer=_listen, setup_parser=_listen).parse(text))
        pool = DescriptorPool()
        pool.Add(file)
        name = f"{file.package}.{file.message_type[0].name}".lstrip(".")
        kind: type[Message] = GetMessageClass(pool.FindMessageTypeByName(name))
    except RecursionError as error:
        raise _invalid("it has too many levels") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Errors of the parser at a rest that it does not understand, and refusals of the pool.
        raise _invalid(str(error) or type(error).__name__) from error
    return kind


def check_json(kind: type[Message], data: bytes) -> None:
    """Raise InvalidArgument unless `data` is a message of this class as JSON."""

    def read() -> Message:
        value = json.loads(data)
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")  # noqa: TRY004 - of the data
        return json_format.ParseDict(value, kind(), max_recursion_depth=_DEEPEST)

    _fit(read)


def check_binary(kind: type[Message], data: bytes) -> None:
    """Raise InvalidArgument unless `data` is a message of this class, without unknown fields."""

    def read() -> Message:
        message = kind.FromString(data)
        size = len(message.SerializePartialToString())
        message.DiscardUnknownFields()
        if len(message.SerializePartialToString()) != size:
            raise ValueError("it has fields that the schema does not have")
        return message

    _fit(read)


def _fit(read: Callable[[], Message]) -> None:
    try:
        message = read()
    except (DecodeError, RecursionError, ValueError, json_format.ParseError) as error:
        raise _unfit(str(error) or type(error).__name__) from error
    if missing := message.FindInitializationErrors():
        raise _unfit(f"the required fields {', '.join(missing)} are missing")


def _unfit(reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"Invalid data in message: Message failed schema validation: {reason[:300]}"
    )


class _Refusal(ErrorListener):  # type: ignore[misc]
    """Raises ValueError for the first error of syntax; the parser alone would go on with a guess."""

    def syntaxError(  # noqa: N802 - ANTLR calls it so
        self, recognizer: Any, symbol: Any, line: int, column: int, message: str, error: Any
    ) -> NoReturn:
        raise ValueError(f"line {line}, column {column + 1}: {message[:150]}")


def _listen(recognizer: Any) -> None:
    recognizer.removeErrorListeners()
    recognizer.addErrorListener(_Refusal())


def _invalid(problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"schema.definition is not a valid protocol buffer schema: {problem}"[:500]
    )


def _file(parsed: ast.File) -> FileDescriptorProto:
    if parsed.edition:
        raise ValueError('editions are not emulated: use syntax = "proto3" or "proto2"')
    file = FileDescriptorProto(name="schema.proto", syntax=parsed.syntax or "proto2")
    if file.syntax not in ("proto2", "proto3"):
        raise ValueError(f"syntax is {file.syntax!r}; it must be proto2 or proto3")
    elements = _only(parsed.file_elements, ast.Package, ast.Message, ast.Enum)
    for element in elements:
        if isinstance(element, ast.Package):
            file.package = element.name
    file.message_type.extend(
        _message(each, is_proto3=file.syntax == "proto3")
        for each in elements
        if isinstance(each, ast.Message)
    )
    file.enum_type.extend(_enum(each) for each in elements if isinstance(each, ast.Enum))
    if len(file.message_type) != 1:
        raise ValueError(f"it has {len(file.message_type)} top-level messages; it must have one")
    return file


def _message(parsed: ast.Message, *, is_proto3: bool) -> DescriptorProto:
    message = DescriptorProto(name=parsed.name)
    kinds = (ast.Field, ast.MapField, ast.OneOf, ast.Message, ast.Enum)
    elements = _only(parsed.elements, *kinds)
    for element in elements:
        match element:
            case ast.Field():
                message.field.append(_field(element, needs_label=not is_proto3))
            case ast.MapField():
                _add_map(message, element)
            case ast.OneOf():
                _add_oneof(message, element)
            case ast.Message():
                message.nested_type.append(_message(element, is_proto3=is_proto3))
            case ast.Enum():
                message.enum_type.append(_enum(element))
    if is_proto3:
        optional = ast.FieldCardinality.OPTIONAL
        fields = (each for each in elements if isinstance(each, ast.Field))
        _add_presence(message, {each.name for each in fields if each.cardinality == optional})
    return message


def _add_presence(message: DescriptorProto, names: set[str]) -> None:
    """Make each of the fields the only member of a oneof; these come after the written ones."""
    for field in message.field:
        if field.name in names:
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")


def _field(parsed: ast.Field, *, needs_label: bool = False) -> FieldDescriptorProto:
    if needs_label and parsed.cardinality is None:
        raise ValueError(
            f"field {parsed.name} needs optional, required or repeated: without "
            'syntax = "proto3" it is proto2'
        )
    label = _LABELS[parsed.cardinality or ast.FieldCardinality.OPTIONAL]
    field = FieldDescriptorProto(name=parsed.name, number=parsed.number, label=label)
    _set_type(field, parsed.type)
    for option in parsed.options:
        if option.name == "packed":
            field.options.packed = str(option.value).lower() == "true"
        elif option.name == "json_name":
            field.json_name = str(option.value)
        elif option.name == "default":
            value = option.value
            field.default_value = str(value).lower() if isinstance(value, bool) else str(value)
    return field


def _set_type(field: FieldDescriptorProto, name: str) -> None:
    if name in _TYPES:
        field.type = FieldDescriptorProto.Type.Name(_TYPES[name])
    else:
        field.type_name = name


def _add_map(message: DescriptorProto, parsed: ast.MapField) -> None:
    words = parsed.name.split("_")
    entry = message.nested_type.add(name="".join(map(str.capitalize, words)) + "Entry")
    entry.options.map_entry = True
    for number, (name, kind) in enumerate((("key", parsed.key_type), ("value", parsed.value_type))):
        part = entry.field.add(name=name, number=number + 1)
        part.label = FieldDescriptorProto.LABEL_OPTIONAL
        _set_type(part, kind)
    field = message.field.add(name=parsed.name, number=parsed.number, type_name=entry.name)
    field.label = FieldDescriptorProto.LABEL_REPEATED


def _add_oneof(message: DescriptorProto, parsed: ast.OneOf) -> None:
    index = len(message.oneof_decl)
    message.oneof_decl.add(name=parsed.name)
    for each in _only(parsed.elements, ast.Field):
        field = _field(each)
        field.oneof_index = index
        message.field.append(field)


def _enum(parsed: ast.Enum) -> EnumDescriptorProto:
    enum = EnumDescriptorProto(name=parsed.name)
    for element in parsed.elements:
        if isinstance(element, ast.Option) and element.name == "allow_alias":
            enum.options.allow_alias = str(element.value).lower() == "true"
    for value in _only(parsed.elements, ast.EnumValue):
        enum.value.add(name=value.name, number=value.number)
    return enum


def _only(elements: Iterable[Any], *kinds: type[Any]) -> list[Any]:
    """Return the elements of these kinds. Raises ValueError for one that has to be refused."""
    # The parser returns None for an empty statement.
    kept = [each for each in elements if each is not None and not isinstance(each, _IGNORED)]
    for element in kept:
        if not isinstance(element, kinds):
            name = type(element).__name__.lower()
            raise ValueError(f"{name} is not possible in a schema")  # noqa: TRY004 - of the text
    return kept
