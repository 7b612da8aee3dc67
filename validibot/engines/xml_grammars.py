"""Compiled XML schemas: XSD 1.0, RELAX NG in XML syntax, and DTD, all by libxml2.

The text of a schema tells its language. A schema of any language decides about a tree; only XSD
can validate a stream.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from threading import Lock
from typing import Any

from lxml import etree

from validibot.core.echo import echo
from validibot.engines.base import EngineError
from validibot.engines.problems import MAX_PROBLEMS, DocumentProblem
from validibot.engines.xml_documents import (
    MAIN,
    RELAX_NG,
    XSD,
    XmlSchemas,
    XsdDocuments,
    document_type,
    parse_schema,
    relax_ng,
)
from validibot.engines.xml_text import in_words, parse_xml

_DTD = re.compile(r"<!(ELEMENT|ATTLIST|ENTITY|NOTATION)\s")
_COMPACT = re.compile(r"^\s*(#|default |namespace |datatypes |start\s*=|grammar\s*\{|element\s)")
# A repeated group that repeats something itself, or a large count: libxml2 tries every division.
_SLOW_PATTERN = re.compile(
    r"\([^()]*[*+{][^()]*\)\s*[*+{]|\{\d{3,}|,\d{3,}\}|\)\s*[*+{][^()]*\)\s*[*+{]"
)
_LARGE_COUNT = re.compile(r"""(?:max|min)Occurs\s*=\s*["'](\d{3,})["']""")
_MANY_PARTICLES = 100
# The first one that fits counts. Names of XSD are those of the validation rules in XML Schema Part 1
# and 2 (appendix C), as far as libxml2 has them.
_CODES = tuple(
    (re.compile(pattern), f"xml.{name}")
    for pattern, name in (
        (r"SCHEMAV_CVC_ELT_1|DTD_(UNKNOWN_ELEM|ROOT_NAME)", "unknown_element"),
        (r"SCHEMAV_ELEMENT_CONTENT|SCHEMAV_CVC_COMPLEX_TYPE_2_4", "unexpected_element"),
        (r"RELAXNG_ERR_(ELEM\w+|NOELEM|EXTRACONTENT|INTEREXTRA|INTERSEQ)", "unexpected_element"),
        (r"DTD_(CONTENT_MODEL|INVALID_CHILD|CONTENT_ERROR)", "unexpected_element"),
        (r"SCHEMAV_CVC_COMPLEX_TYPE_3_2_\d|SCHEMAV_CVC_WILDCARD", "unexpected_attribute"),
        (r"RELAXNG_ERR_(INVALIDATTR|ATTRWRONGNS|ATTREXTRANS|ATTRNAME)", "unexpected_attribute"),
        (r"DTD_UNKNOWN_ATTRIBUTE", "unexpected_attribute"),
        (r"SCHEMAV_CVC_COMPLEX_TYPE_4|DTD_MISSING_ATTRIBUTE", "missing_attribute"),
        (r"SCHEMAV_CVC_(COMPLEX_TYPE_2_[123]|TYPE_3_1_2|ELT_3_2_1)", "unexpected_content"),
        (
            r"DTD_NOT_(EMPTY|PCDATA)|RELAXNG_ERR_(NOTELEM|TEXTWRONG|CONTENTVALID)",
            "unexpected_content",
        ),
        (r"SCHEMAV_CVC_PATTERN_VALID", "pattern"),
        (r"SCHEMAV_CVC_ENUMERATION_VALID", "enumeration"),
        (r"SCHEMAV_CVC_(MIN|MAX)?LENGTH_VALID", "length"),
        (r"SCHEMAV_CVC_(MIN|MAX)(INCLUSIVE|EXCLUSIVE)_VALID", "range"),
        (r"SCHEMAV_CVC_(TOTAL|FRACTION)DIGITS_VALID", "digits"),
        (r"SCHEMAV_CVC_IDC|DTD_(UNKNOWN_ID|ID_REDEFINED|MULTIPLE_ID)", "identity"),
        (r"SCHEMAV_CVC_(AU|ATTRIBUTE_4|ELT_5_2_2_\w+)", "fixed_value"),
        (r"SCHEMAV_CVC_(DATATYPE_VALID_\w+|ATTRIBUTE_[123]|FACET_VALID)|SCHEMAV_VALUE", "value"),
        (r"RELAXNG_ERR_(VALUE|VALUENOELEM|DATATYPE|TYPE\w*|ATTRVALID|LIST\w*|VALELEM)", "value"),
        (r"DTD_(ATTRIBUTE_VALUE|NOTATION_VALUE|XMLID_VALUE)", "value"),
    )
)


class CompiledSchema:
    """A schema with a lock for threads, because libxml2 stores the errors of a validation in it.

    `is_slow` tells that a document may take much time.
    """

    def __init__(self, schema: Any, *, is_slow: bool = False) -> None:
        self._schema = schema
        self._lock = Lock()
        self.is_slow = is_slow
        self.streams = isinstance(schema, etree.XMLSchema)

    def problems(
        self, root: etree._Element, *, without: Iterable[str] = ()
    ) -> tuple[int, list[DocumentProblem]]:
        """Return the number of problems of a tree, and the first ones with their paths.

        Problems of elements whose paths are in `without` do not count.
        """
        with self._lock:
            if self._schema.validate(root):
                return 0, []
            log = [entry for entry in self._schema.error_log if entry.path not in without]
            return len(log), [problem_of(entry) for entry in log[:MAX_PROBLEMS]]

    def parser(self, target: Any = None) -> etree.XMLParser:
        """Return a parser that validates what it is fed; for XSD only."""
        return etree.XMLParser(
            schema=self._schema,
            target=target,
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
        )


@lru_cache(maxsize=256)
def compiled(schemas: XmlSchemas) -> CompiledSchema:
    """Compile a schema of any language. Raises EngineError."""
    text = schemas.main.lstrip("\ufeff \t\r\n")
    if _DTD.search(text) and not _has_root(text):
        return _compile(schemas, _compile_dtd, etree.XMLSyntaxError)
    if not text.startswith("<") and _COMPACT.match(text):
        raise EngineError(
            "The schema seems to be in the compact syntax of RELAX NG, which is not read. Convert it"
            " to the XML syntax, for example with trang."
        )
    root = parse_schema(text)
    namespace = etree.QName(root).namespace
    if namespace == RELAX_NG:
        return _compile(schemas, _compile_relax_ng, etree.RelaxNGParseError)
    if namespace != XSD:
        raise EngineError(
            f"The schema is invalid: its root element is {echo(etree.QName(root).localname)}, which is"
            " neither an XML Schema nor a RELAX NG grammar."
        )
    return _compile(schemas, _compile_xsd, etree.XMLSchemaParseError)


def _has_root(text: str) -> bool:
    """Return whether a text with declarations is a document with an element."""
    return (
        re.match(r"(?:<\?.*?\?>|<!--.*?-->|\s)*<(?:[A-Za-z_]|!DOCTYPE)", text, re.DOTALL)
        is not None
    )


def _compile(
    schemas: XmlSchemas, build: Callable[[XmlSchemas], CompiledSchema], error: type[Exception]
) -> CompiledSchema:
    try:
        return build(schemas)
    except error as reason:
        raise EngineError(_invalid(reason)) from None


def _compile_xsd(schemas: XmlSchemas) -> CompiledSchema:
    documents = XsdDocuments(schemas)
    root = parse_xml(documents.main(), resolver=documents)
    texts = [schemas.main, *(text for _, text in schemas.documents)]
    slow = any(_is_slow(text) for text in texts)
    try:
        return CompiledSchema(etree.XMLSchema(root), is_slow=slow)
    except etree.XMLSchemaParseError as error:
        raise EngineError(_invalid(error, documents)) from None


def _is_slow(text: str) -> bool:
    patterns = re.findall(r"""pattern\s[^<>]*?value\s*=\s*(?:"([^"]*)"|'([^']*)')""", text)
    return any(_SLOW_PATTERN.search(one or other) for one, other in patterns)


def _compile_relax_ng(schemas: XmlSchemas) -> CompiledSchema:
    root = relax_ng(schemas)
    # RELAX NG has no rule against ambiguity; libxml2 tries alternatives one after the other.
    slow = any(True for _ in root.iter(f"{{{RELAX_NG}}}interleave", f"{{{RELAX_NG}}}choice"))
    return CompiledSchema(etree.RelaxNG(root), is_slow=slow)


def _compile_dtd(schemas: XmlSchemas) -> CompiledSchema:
    return CompiledSchema(document_type(schemas))


def compiles_slowly(schemas: XmlSchemas) -> bool:
    """Return whether compiling may take long: the states of a content model multiply."""
    texts = [schemas.main, *(text for _, text in schemas.documents)]
    return any(_LARGE_COUNT.search(text) for text in texts) or any(
        text.count("Occurs") + text.count("*") + text.count("?") > _MANY_PARTICLES for text in texts
    )


def _invalid(error: Exception, documents: XsdDocuments | None = None) -> str:
    if isinstance(error, etree.XMLSyntaxError):
        # Its log begins with messages about what this thread read before.
        text = in_words((error.msg or "").partition(", line ")[0])
        return f"The schema is invalid: {text} (line {error.lineno})"
    log: Any = getattr(error, "error_log", None)
    entry = next(iter(log), None) if log else None
    if entry is None:
        return f"The schema is invalid: {in_words(str(error))}"
    name = documents.name_of(entry.filename or "") if documents else ""
    where = f" in the document {echo(name)}" if name and name != MAIN else ""
    line = f" (line {entry.line})" if entry.line else ""
    return f"The schema is invalid{where}: {in_words(entry.message)}{line}"


@lru_cache(maxsize=256)
def code_of(rule: str) -> str:
    """Return our code for a rule by its name in libxml2, which differs for each kind of schema."""
    return next((code for pattern, code in _CODES if pattern.fullmatch(rule)), "xml.schema")


def problem_of(entry: Any) -> DocumentProblem:
    """Return an entry of an error log of libxml2."""
    return DocumentProblem(
        in_words(entry.message),
        code=code_of(entry.type_name or ""),
        path=entry.path or "",
        line=entry.line or None,
        column=entry.column or None,
    )
