"""XML Schema engine: XSD 1.0, RELAX NG or DTD, with lxml; no network and no entities.

libxml2 computes a path for each error of a tree, which costs the square of the number of siblings.
A large document is therefore validated by XSD as a stream, which decides whether it is valid and
counts its errors, without paths. Paths of the first errors come from the part of the document that
has them. Listing runs in a child process, and so does everything that may be slow.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Self

from lxml import etree
from pydantic import Field, model_validator

from validibot.engines.base import (
    Document,
    Engine,
    EngineBusy,
    EngineConfig,
    EngineError,
    EngineManifest,
    FileType,
    Result,
)
from validibot.engines.problems import MAX_PROBLEMS, BadDocument, DocumentProblem, listed
from validibot.engines.sandbox import run_in_child, too_expensive
from validibot.engines.xml_documents import XmlSchemas, read_schemas
from validibot.engines.xml_grammars import CompiledSchema, compiled, compiles_slowly
from validibot.engines.xml_text import parse_xml

# Processor time for a schema: each process that uses it reads it once, outside a child process.
MAX_COMPILE_SECONDS = 5
# Larger documents are validated as a stream.
MAX_TREE_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024
# The part with the first errors is cut off to this many bytes.
_FINE_BYTES = 512
_UNCLEAR = DocumentProblem("The document does not conform to the schema.", code="xml.schema")
# libxml2 stops after ten million steps of one pattern.
_GAVE_UP = DocumentProblem(
    "The check takes too many steps, because a pattern of the schema repeats a repeated group."
    " Simplify the pattern.",
    code="document.too_expensive",
)


class XmlSchemaConfig(EngineConfig):
    """Settings of the engine: the text of a schema, and the texts to which it refers."""

    text: str = Field(
        alias="schema",
        title="Schema",
        description="An XML Schema (XSD 1.0), a RELAX NG grammar, or a DTD.",
        json_schema_extra={"contentMediaType": "application/xml"},
    )
    documents: dict[str, str] = Field(
        default_factory=dict,
        title="Further schemas",
        description="The texts that the schema includes or imports, by name.",
    )

    @model_validator(mode="after")
    def must_compile(self) -> Self:
        schemas = read_schemas(self.model_dump(by_alias=True))
        if compiles_slowly(schemas):
            _compile_in_child(schemas)
        else:
            compiled(schemas)
        return self


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Check a document; `config` is an XmlSchemaConfig as JSON."""
    schemas = read_schemas(config)
    schema = compiled(schemas)
    content = document.content
    try:
        root = parse_xml(content)
    except BadDocument as bad:
        return Result((bad.problem,))
    try:
        return Result(_problems(schemas, schema, content, root))
    except etree.XMLSchemaValidateError:
        return Result((_GAVE_UP,))


def _problems(
    schemas: XmlSchemas, schema: CompiledSchema, content: bytes, root: etree._Element
) -> tuple[DocumentProblem, ...]:
    if schema.is_slow:
        return _list_in_child(schemas, content, known=False)
    if len(content) <= MAX_TREE_BYTES:
        total, problems = schema.problems(root)
        return listed(problems, total=total)
    if schema.streams and not count(schema, content, stop_at=1).errors:
        return ()
    return _list_in_child(schemas, content, known=schema.streams)


class Count(NamedTuple):
    """The number of errors, and the end of the chunk with the last of them."""

    errors: int
    end: int


def count(
    schema: CompiledSchema, content: bytes, *, stop_at: int = 0, chunk: int = _CHUNK_BYTES
) -> Count:
    """Validate as a stream; return the number of errors and the offset of the last one.

    Reading stops after `stop_at` errors, if that is not 0.
    """
    parser = schema.parser()
    for offset in range(0, len(content), chunk):
        parser.feed(content[offset : offset + chunk])
        if stop_at and len(parser.feed_error_log) >= stop_at:
            return Count(len(parser.feed_error_log), offset + chunk)
    with suppress(etree.XMLSyntaxError):  # the syntax was checked before
        parser.close()
    return Count(len(parser.feed_error_log), len(content))


def compile_only(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield the fault of a schema, "" if it has none. Runs in a child process (see sandbox)."""
    try:
        compiled(_schemas_of(header))
    except EngineError as error:
        yield str(error)
    else:
        yield ""


def list_problems(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield the first problems as lists of their fields, then their number.

    The number is negative if there may be more. Runs in a child process (see sandbox).
    """
    schema = compiled(_schemas_of(header))
    try:
        total, problems = (_stream if schema.streams else _prefixes)(schema, body)
    except etree.XMLSchemaValidateError:
        total, problems = 1, [_GAVE_UP]
    for problem in problems:
        yield [problem.message, problem.code, problem.path, problem.line, problem.column]
    large = len(body) > MAX_TREE_BYTES
    yield count(schema, body).errors if schema.streams and large and total else total


def _stream(schema: CompiledSchema, body: bytes) -> tuple[int, list[DocumentProblem]]:
    if len(body) <= MAX_TREE_BYTES:
        total, problems = schema.problems(parse_xml(body))
        return total, problems
    found = count(schema, body, stop_at=MAX_PROBLEMS)
    if not found.errors:
        return 0, []
    end, start = found.end, max(0, found.end - _CHUNK_BYTES)
    if end < len(body):
        end = _fine_end(schema, body, start, end)
    # The parser closes elements that are open at the end; the errors of that come last.
    return schema.problems(_beginning(body[:end]))


def _prefixes(schema: CompiledSchema, body: bytes) -> tuple[int, list[DocumentProblem]]:
    """Return problems of the shortest beginning that has enough of them, without its open elements."""
    size = MAX_TREE_BYTES
    while size < len(body):
        root = _beginning(body[:size])
        total, problems = schema.problems(root, without=_open_paths(root))
        if total >= MAX_PROBLEMS:
            return -total, problems
        size += size // 2
    return schema.problems(parse_xml(body))


def _beginning(content: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    return etree.fromstring(content, parser)


def _open_paths(root: etree._Element) -> set[str]:
    """Return the paths of the elements that a cut may have left open: the last of each level."""
    tree = root.getroottree()
    paths = {tree.getpath(root)}
    while len(root):
        root = root[-1]
        paths.add(tree.getpath(root))
    return paths


def _fine_end(schema: CompiledSchema, body: bytes, start: int, end: int) -> int:
    """Return the end of the shortest part, in steps, that has enough errors."""
    low, high = start, end
    while high - low > _FINE_BYTES:
        middle = (low + high) // 2
        if count(schema, body[:middle]).errors >= MAX_PROBLEMS:
            high = middle
        else:
            low = middle
    return high


def _schemas_of(header: Mapping[str, Any]) -> XmlSchemas:
    return XmlSchemas(header["main"], tuple((name, text) for name, text in header["documents"]))


def _compile_in_child(schemas: XmlSchemas) -> None:
    limits = replace(ENGINE.manifest, seconds=MAX_COMPILE_SECONDS)
    try:
        lines = run_in_child(compile_only, schemas._asdict(), b"", limits)
    except EngineBusy:
        raise EngineError("The schema cannot be checked now, because the server is busy.") from None
    if not lines:
        raise EngineError(
            f"The schema needs more than {limits.seconds:g} s or"
            f" {limits.memory // 2**20} MB to read. Use smaller numbers in `maxOccurs`"
            ' (or "unbounded"), and fewer optional elements in one choice.'
        )
    if lines[0]:
        raise EngineError(lines[0])


def _list_in_child(
    schemas: XmlSchemas, content: bytes, *, known: bool
) -> tuple[DocumentProblem, ...]:
    """List problems in a child process; `known` tells that the document has some."""
    lines = run_in_child(list_problems, schemas._asdict(), content, ENGINE.manifest)
    problems = [
        DocumentProblem(message, "ERROR", code, path, line, column)
        for message, code, path, line, column in (each for each in lines if isinstance(each, list))
    ]
    if lines and isinstance(lines[-1], int):
        total = lines[-1]
        return listed(problems, total=abs(total), exact=total >= 0)
    if not problems and not known:
        return (too_expensive(ENGINE.manifest),)
    problems = problems or [_UNCLEAR]
    return listed(problems, total=len(problems), exact=False)


ENGINE = Engine(
    EngineManifest(
        slug="xml-schema",
        title="XML Schema",
        description="Checks an XML document against an XML Schema (XSD 1.0), RELAX NG or a DTD.",
        validation_type="XML_SCHEMA",
        version="1",
        accepts=(FileType(".xml", "application/xml"),),
    ),
    check,
    XmlSchemaConfig,
)
