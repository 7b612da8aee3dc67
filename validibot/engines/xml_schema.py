"""XML Schema 1.0, by lxml: no network, no entities, no files beside the schema."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from threading import Lock
from typing import Any

from lxml import etree
from pydantic import Field, field_validator

from validibot.engines.base import (
    Document,
    Engine,
    EngineConfig,
    EngineError,
    EngineManifest,
    FileType,
    Result,
)
from validibot.engines.problems import BadDocument, Problem, truncated
from validibot.engines.xml_text import parse_xml

MAX_SCHEMA_CHARACTERS = 1024 * 1024
_DECLARATION = re.compile(r"^<\?xml\b.*?\?>", re.DOTALL)


class CompiledSchema:
    """A schema that several threads may use: libxml2 keeps the errors of one validation in it."""

    def __init__(self, schema: etree.XMLSchema) -> None:
        self._schema = schema
        self._lock = Lock()

    def problems(self, root: etree._Element) -> tuple[Problem, ...]:
        with self._lock:
            if self._schema.validate(root):
                return ()
            log: Any = self._schema.error_log
            return truncated(_problems(log))


class XmlSchemaConfig(EngineConfig):
    """Settings of the engine: the text of an XML Schema."""

    text: str = Field(alias="schema")

    @field_validator("text")
    @classmethod
    def must_compile(cls, text: str) -> str:
        _compiled(_schema_text({"schema": text}))
        return text


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """`config` has `schema`, the text of an XML Schema."""
    schema = _compiled(_schema_text(config))
    try:
        root = parse_xml(document.content)
    except BadDocument as bad:
        return Result((bad.problem,))
    return Result(schema.problems(root))


def _schema_text(config: Mapping[str, Any]) -> str:
    schema = config.get("schema")
    if not isinstance(schema, str) or not schema.strip():
        raise EngineError("The step has no schema: set `schema` in its configuration.")
    if len(schema) > MAX_SCHEMA_CHARACTERS:
        raise EngineError(f"The schema has more than {MAX_SCHEMA_CHARACTERS} characters.")
    return schema


@lru_cache(maxsize=256)
def _compiled(schema: str) -> CompiledSchema:
    # The text is decoded already: what its declaration says of an encoding is history.
    text = _DECLARATION.sub("", schema.strip())
    try:
        root = parse_xml(text.encode())
        _refuse_other_files(root)
        return CompiledSchema(etree.XMLSchema(root))
    except BadDocument as bad:
        raise EngineError(f"The schema is not XML: {bad}") from None
    except etree.XMLSchemaParseError as error:
        raise EngineError(f"The schema is wrong: {error}") from None


def _refuse_other_files(schema: etree._Element) -> None:
    for element in schema.iterchildren("{*}include", "{*}import", "{*}redefine"):
        if location := element.get("schemaLocation"):
            raise EngineError(f"The schema refers to {location!r}; other files are not read.")


def _problems(log: Iterable[Any]) -> Iterable[Problem]:
    for entry in log:
        yield Problem(
            entry.message,
            code=entry.type_name,
            path=entry.path or "",
            line=entry.line or None,
            column=entry.column or None,
        )


ENGINE = Engine(
    EngineManifest(
        slug="xml-schema",
        title="XML Schema",
        description="Checks an XML document against an XML Schema (XSD 1.0).",
        validation_type="XML_SCHEMA",
        version="1",
        accepts=(FileType(".xml", "application/xml"),),
    ),
    check,
    XmlSchemaConfig,
)
