"""Bounded parsing of XML documents: no entities, no network, no other files."""

import re
from typing import Any, NoReturn

from lxml import etree

from validibot.engines.problems import BadDocument, DocumentProblem

MAX_BYTES = 16 * 1024 * 1024
# Advice for programmers in messages of libxml2, and its limits in the user's terms.
_ADVICE = re.compile(r",?\s*(consider )?(use|using|try) XML_PARSE_HUGE( option)?\.?", re.IGNORECASE)
_LIMITS = (
    (re.compile("excessive depth", re.IGNORECASE), "it is nested deeper than 256 levels"),
    (re.compile("huge text node|CData section too big", re.IGNORECASE), "a text is too long"),
    (
        re.compile("AttValue length too long", re.IGNORECASE),
        "the value of an attribute is too long",
    ),
    (re.compile("huge input lookup", re.IGNORECASE), "a tag or a text is too long"),
    (re.compile("amplification|entity loop", re.IGNORECASE), "its entities expand too far"),
)


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
    for limit, in_our_words in _LIMITS:
        if limit.search(text):
            message = f"The document cannot be read: {in_our_words}."
            break
    else:
        message = f"This is not XML: {_ADVICE.sub('', text)}"
    return DocumentProblem(message, code="xml.invalid", line=line or None, column=column or None)


def _refuse_entities(root: etree._Element) -> None:
    dtd: Any = root.getroottree().docinfo.internalDTD
    if dtd is not None and dtd.entities():
        message = "The document declares entities, which are not accepted."
        raise BadDocument(DocumentProblem(message, code="xml.entities"))
