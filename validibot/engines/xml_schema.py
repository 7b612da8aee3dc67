"""XML Schema 1.0 engine, with lxml: no network, no entities, no files beside the schema.

libxml2 computes a path for each error of a tree, which costs the square of the number of siblings.
A large document is therefore validated as a stream, which decides whether it is valid and counts
its errors, without paths. Paths of the first errors come from the part of the document that has
them. Listing runs in a child process.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

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
from validibot.engines.problems import MAX_PROBLEMS, BadDocument, DocumentProblem, listed
from validibot.engines.sandbox import run_in_child
from validibot.engines.xml_text import parse_xml

MAX_SCHEMA_CHARACTERS = 1024 * 1024
# Larger documents are validated as a stream.
MAX_TREE_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024
# The part with the first errors is cut off to this many bytes.
_FINE_BYTES = 512
_DECLARATION = re.compile(r"^<\?xml\b.*?\?>", re.DOTALL)
XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
_XML_LOCATION = "xml.xsd"
# The attributes of the XML namespace, which schemas import by its name (xml:lang, xml:space, …).
_XML_XSD = f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{XML_NAMESPACE}">
<xs:attribute name="lang" type="xs:string"/>
<xs:attribute name="space"><xs:simpleType><xs:restriction base="xs:NCName">
<xs:enumeration value="default"/><xs:enumeration value="preserve"/>
</xs:restriction></xs:simpleType></xs:attribute>
<xs:attribute name="base" type="xs:anyURI"/>
<xs:attribute name="id" type="xs:ID"/>
<xs:attributeGroup name="specialAttrs">
<xs:attribute ref="xml:base"/><xs:attribute ref="xml:lang"/><xs:attribute ref="xml:space"/>
<xs:attribute ref="xml:id"/>
</xs:attributeGroup></xs:schema>"""


class CompiledSchema:
    """A schema with a lock for threads, because libxml2 stores the errors of a validation in it."""

    def __init__(self, schema: etree.XMLSchema) -> None:
        self._schema = schema
        self._lock = Lock()

    def problems(self, root: etree._Element) -> tuple[int, list[DocumentProblem]]:
        """Return the number of problems of a small tree, and the first ones with their paths."""
        with self._lock:
            if self._schema.validate(root):
                return 0, []
            log: Any = self._schema.error_log
            return len(log), [_problem(entry) for entry in log[:MAX_PROBLEMS]]

    def count(self, content: bytes, *, stop_at: int = 0, chunk: int = _CHUNK_BYTES) -> "Count":
        """Validate as a stream; return the number of errors and the offset of the last one.

        Reading stops after `stop_at` errors, if that is not 0.
        """
        parser = etree.XMLParser(
            schema=self._schema, resolve_entities=False, no_network=True, load_dtd=False
        )
        for offset in range(0, len(content), chunk):
            parser.feed(content[offset : offset + chunk])
            if stop_at and len(parser.feed_error_log) >= stop_at:
                return Count(len(parser.feed_error_log), offset + chunk)
        with suppress(etree.XMLSyntaxError):  # the syntax was checked before
            parser.close()
        return Count(len(parser.feed_error_log), len(content))


class Count(NamedTuple):
    """The number of errors, and the end of the chunk with the last of them."""

    errors: int
    end: int


class XmlSchemaConfig(EngineConfig):
    """Settings of the engine: the text of an XML Schema."""

    text: str = Field(alias="schema")

    @field_validator("text")
    @classmethod
    def must_compile(cls, text: str) -> str:
        _compiled(_schema_text({"schema": text}))
        return text


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Check a document; `config` is an XmlSchemaConfig as JSON."""
    text = _schema_text(config)
    schema = _compiled(text)
    content = document.content
    try:
        root = parse_xml(content)
    except BadDocument as bad:
        return Result((bad.problem,))
    if len(content) <= MAX_TREE_BYTES:
        total, problems = schema.problems(root)
        return Result(listed(problems, total=total))
    if not schema.count(content, stop_at=1).errors:
        return Result()
    return Result(_list_in_child(text, content))


def list_problems(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield the first problems as lists of their fields, then their number.

    Runs in a child process (see sandbox).
    """
    schema = _compiled(header["schema"])
    end = schema.count(body, stop_at=MAX_PROBLEMS).end
    start = max(0, end - _CHUNK_BYTES)
    if end < len(body):
        end = _fine_end(schema, body, start, end)
    # The parser closes elements that are open at the end; the errors of that come last.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    root = etree.fromstring(body[:end], parser)
    for problem in schema.problems(root)[1]:
        yield [problem.message, problem.code, problem.path, problem.line, problem.column]
    yield schema.count(body).errors


def _fine_end(schema: CompiledSchema, body: bytes, start: int, end: int) -> int:
    """Return the end of the shortest part, in steps, that has enough errors."""
    low, high = start, end
    while high - low > _FINE_BYTES:
        middle = (low + high) // 2
        if schema.count(body[:middle]).errors >= MAX_PROBLEMS:
            high = middle
        else:
            low = middle
    return high


def _list_in_child(schema: str, content: bytes) -> tuple[DocumentProblem, ...]:
    lines = run_in_child(list_problems, {"schema": schema}, content, ENGINE.manifest)
    problems = [
        DocumentProblem(message, "ERROR", code, path, line, column)
        for message, code, path, line, column in (each for each in lines if isinstance(each, list))
    ]
    if lines and isinstance(lines[-1], int):
        return listed(problems, total=lines[-1])
    if not problems:
        problems = [
            DocumentProblem("The document does not conform to the schema.", code="xml.schema")
        ]
    return listed(problems, total=len(problems), exact=False)


def _schema_text(config: Mapping[str, Any]) -> str:
    schema = config.get("schema")
    if not isinstance(schema, str) or not schema.strip():
        raise EngineError("The step has no schema: set `schema` in its configuration.")
    if len(schema) > MAX_SCHEMA_CHARACTERS:
        raise EngineError(f"The schema has more than {MAX_SCHEMA_CHARACTERS} characters.")
    return schema


@lru_cache(maxsize=256)
def _compiled(schema: str) -> CompiledSchema:
    # The text is decoded, so the encoding in its declaration does not apply any more.
    text = _DECLARATION.sub("", schema.strip())
    try:
        root = parse_xml(text.encode(), resolver=_XmlNamespace())
        _refuse_other_files(root)
        return CompiledSchema(etree.XMLSchema(root))
    except BadDocument as bad:
        raise EngineError(f"The schema is not XML: {bad}") from None
    except etree.XMLSchemaParseError as error:
        raise EngineError(f"The schema is invalid: {error}") from None


class _XmlNamespace(etree.Resolver):
    """Resolver that has the schema of the XML namespace and refuses all other files."""

    def resolve(self, system_url: str, public_id: str, context: Any = None) -> Any:
        if system_url == _XML_LOCATION:
            return self.resolve_string(_XML_XSD, context, base_url=_XML_LOCATION)
        raise ValueError("other files are not read")


def _refuse_other_files(schema: etree._Element) -> None:
    for element in schema.iterchildren("{*}include", "{*}import", "{*}redefine"):
        location = element.get("schemaLocation")
        if element.get("namespace") == XML_NAMESPACE:
            element.set("schemaLocation", _XML_LOCATION)
        elif location:
            raise EngineError(f"The schema refers to {location!r}; other files are not read.")


def _problem(entry: Any) -> DocumentProblem:
    return DocumentProblem(
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
