"""Reads XML from strangers: no entities, no network, no other file, bounded in size and depth."""

from typing import Any, NoReturn

from lxml import etree

from validibot.engines.problems import BadDocument, Problem

MAX_BYTES = 16 * 1024 * 1024


class _NoOtherFile(etree.Resolver):
    def resolve(self, system_url: str, public_id: str, context: object = None) -> NoReturn:
        raise ValueError("other files are not read")


def parse_xml(content: bytes) -> etree._Element:
    """Return the root element. Raises BadDocument."""
    if len(content) > MAX_BYTES:
        size = f"{len(content)} bytes; at most {MAX_BYTES} can be checked."
        raise BadDocument(Problem(f"The document has {size}", code="document.too_large"))
    if not content.strip():
        raise BadDocument(Problem("The document is empty.", code="document.empty"))
    # libxml2 bounds the depth (256) and the expansion of entities unless huge_tree is set.
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    parser.resolvers.add(_NoOtherFile())
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise BadDocument(_problem(error)) from None
    _refuse_entities(root)
    return root


def _problem(error: etree.XMLSyntaxError) -> Problem:
    line, column = error.position
    reason = error.msg.removesuffix(f", line {line}, column {column}").strip()
    message = f"This is not XML: {reason}"
    return Problem(message, code="xml.invalid", line=line or None, column=column or None)


def _refuse_entities(root: etree._Element) -> None:
    dtd: Any = root.getroottree().docinfo.internalDTD
    if dtd is not None and dtd.entities():
        message = "The document declares entities, which are not accepted."
        raise BadDocument(Problem(message, code="xml.entities"))
