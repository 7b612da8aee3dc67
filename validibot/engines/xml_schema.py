"""XML Schema engine: XSD 1.0, RELAX NG or DTD, with lxml; no network and no entities.

libxml2 computes a path for each error of a tree, which costs the square of the number of siblings.
A large document is therefore validated by XSD as a stream (see xml_stream). The other languages need
a tree: of a large document they list the errors of the shortest beginning that has enough of them.
Listing runs in a child process, and so does everything that may be slow.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

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
from validibot.engines.problems import BadDocument, DocumentProblem, listed
from validibot.engines.sandbox import run_in_child, too_expensive
from validibot.engines.xml_documents import XmlSchemas, read_schemas
from validibot.engines.xml_grammars import CompiledSchema, compiled, compiles_slowly
from validibot.engines.xml_stream import has_errors, stream_problems
from validibot.engines.xml_text import parse_xml

# Processor time for a schema: each process that uses it reads it once, outside a child process.
MAX_COMPILE_SECONDS = 5
# Larger documents are validated as a stream.
MAX_TREE_BYTES = 64 * 1024
# Problems of a larger document that are listed by a grammar that cannot validate a stream.
MAX_WITHOUT_STREAM = 100
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
    if schema.streams and not has_errors(schema, content):
        return ()
    return _list_in_child(schemas, content, known=schema.streams)


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
    is_stream = schema.streams and len(body) > MAX_TREE_BYTES
    total: int
    problems: Iterable[DocumentProblem]
    try:
        total, problems = (stream_problems if is_stream else _prefixes)(schema, body)
    except etree.XMLSchemaValidateError:
        total, problems = 1, [_GAVE_UP]
    for problem in problems:
        yield [problem.message, problem.code, problem.path, problem.line, problem.column]
    yield total


def _prefixes(schema: CompiledSchema, body: bytes) -> tuple[int, list[DocumentProblem]]:
    """Return problems of the shortest beginning that has enough of them, without its open elements."""
    size = MAX_TREE_BYTES
    while size < len(body):
        root = _beginning(body[:size])
        total, problems = schema.problems(root, without=_open_paths(root))
        if total >= MAX_WITHOUT_STREAM:
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
