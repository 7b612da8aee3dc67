"""Bounded parsing of XML documents: no entities, no network, no other files."""

import re
from typing import Any, NoReturn

from lxml import etree

from validibot.engines.problems import BadDocument, DocumentProblem

MAX_BYTES = 16 * 1024 * 1024
# Messages of libxml2 that speak of its functions or of the grammar of XML, in the user's words.
_WORDS = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        ("excessive depth", "it is nested deeper than 256 levels"),
        ("huge text node|CData section too big", "a text is too long"),
        ("AttValue length too long", "the value of an attribute is too long"),
        ("huge input lookup", "a tag or a text is too long"),
        ("amplification|entity loop", "its entities expand too far"),
        (
            "input is not proper UTF-8|Invalid bytes in character encoding",
            "it is not UTF-8, and declares no other encoding",
        ),
        ("EntityRef: (no name|expecting ';')", "`&` in a text must be written `&amp;`"),
        ("Entity '([^']*)' not defined", r"the entity `&\1;` is not defined"),
        (
            "StartTag: invalid element name",
            "a tag has an invalid name; `<` in a text must be written `&lt;`",
        ),
        (r"PCDATA invalid Char value (\d+)", r"the character number \1 is not allowed in XML"),
        (
            "Extra content at the end of the document",
            "there is content after the end of the root element",
        ),
        ("Start tag expected, '<' not found|Document is empty", "it does not begin with a tag"),
        (
            r"Premature end of data in tag (\S+)(?: line (\d+))?",
            r"the element \1 of line \2 is not closed",
        ),
        (r"Couldn't find end of Start Tag (\S+).*", r"the start tag of \1 has no `>`"),
        ("attributes construct error", "attributes must be separated by white space"),
        ("Specification mandates? value for attribute (.*)", r"the attribute \1 has no value"),
        ("AttValue: . or ' expected", "the value of an attribute must be in quotation marks"),
        (
            "Unescaped '<' not allowed in attributes values",
            "`<` in an attribute must be written `&lt;`",
        ),
        (
            r"Namespace prefix (\S+)(?: for \S+)? on (\S+) is not defined",
            r"the prefix \1 of \2 is not declared",
        ),
        (r"Namespace prefix (\S+) .*not defined", r"the prefix \1 is not declared"),
        (r"Attribute (\S+) redefined", r"the attribute \1 appears twice in one tag"),
        (
            "XML or text declaration not at start of entity",
            "the XML declaration must be at the very beginning",
        ),
        ("Unsupported encoding:? ?(.*)", r"the encoding \1 is not known"),
        ("Comment not terminated.*", "a comment is not closed"),
        ("CData section not finished.*", "a CDATA section is not closed"),
        (
            r"Element (\S+) failed to validate attributes",
            r"An attribute of the element \1 is missing or invalid",
        ),
        (r"Element (\S+) failed to validate content", r"The content of the element \1 is invalid"),
        (r"Did not expect element (\S+) there", r"The element \1 is not expected here"),
        (r"Did not expect text in element (\S+) content", r"The element \1 must not have text"),
        (r"Element (\S+) does not carry attribute (\S+)", r"The element \1 lacks the attribute \2"),
        (
            r"The content model is not determinist\w*",
            "a content model is ambiguous: one element may match two particles",
        ),
    )
)
_LIMITS = re.compile(
    "excessive depth|huge text node|section too big|length too long|huge input|amplification|"
    "entity loop",
    re.IGNORECASE,
)
# Names of functions and settings, and advice for programmers.
_INTERNALS = re.compile(
    r"(?:internal error:?\s*|\bxml[A-Z]\w*:?\s*|,?\s*(?:consider )?(?:use|using|try) XML_PARSE_\w+(?: option)?\.?"
    r"|\bXML_\w+|\{http://www\.w3\.org/2001/XMLSchema\})",
    re.IGNORECASE,
)


def in_words(message: str) -> str:
    """Return a message of libxml2 without its internals."""
    for pattern, words in _WORDS:
        if found := pattern.search(message):
            return found.expand(words)
    return _INTERNALS.sub("", message).strip() or "no reason is given"


class _NoOtherFile(etree.Resolver):
    def resolve(self, system_url: str, public_id: str, context: object = None) -> NoReturn:
        raise ValueError("other files are not read")


def parse_xml(content: bytes, *, resolver: etree.Resolver | None = None) -> etree._Element:
    """Return the root element; only `resolver` can supply other files. Raises BadDocument."""
    if len(content) > MAX_BYTES:
        size = f"{len(content)} bytes; at most {MAX_BYTES} can be checked."
        raise BadDocument(DocumentProblem(f"The document has {size}", code="document.too_large"))
    if not content.strip():
        raise BadDocument(DocumentProblem("The document is empty.", code="document.empty"))
    # libxml2 bounds the depth (256) and the expansion of entities unless huge_tree is set.
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    parser.resolvers.add(resolver or _NoOtherFile())
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise BadDocument(_problem(error)) from None
    _refuse_entities(root)
    return root


def _problem(error: etree.XMLSyntaxError) -> DocumentProblem:
    line, column = error.position
    text = error.msg.removesuffix(f", line {line}, column {column}").strip()
    title = "The document cannot be read" if _LIMITS.search(text) else "This is not XML"
    message = f"{title}: {in_words(text)}" + ("." if _LIMITS.search(text) else "")
    return DocumentProblem(message, code="xml.invalid", line=line or None, column=column or None)


def _refuse_entities(root: etree._Element) -> None:
    dtd: Any = root.getroottree().docinfo.internalDTD
    if dtd is not None and dtd.entities():
        message = "The document declares entities, which are not accepted."
        raise BadDocument(DocumentProblem(message, code="xml.entities"))
