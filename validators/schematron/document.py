"""Submitted XML document: parsed within limits, and the lines of its elements."""

import re
from pathlib import Path
from typing import Any

from lxml import etree

_STEP = re.compile(r"/(@?)(?:Q\{([^}]*)\})?([^/\[\]]+)(?:\[(\d+)\])?")


class DocumentRefused(Exception):
    """The document cannot be checked. The message says why; `code` and `line` belong to it."""

    def __init__(self, text: str, *, code: str, line: int | None = None) -> None:
        super().__init__(text)
        self.code, self.line = code, line


class XmlDocument:
    """Document without a document type, which could name other files. Raises DocumentRefused."""

    def __init__(self, path: Path, *, max_bytes: int, max_depth: int) -> None:
        if (size := path.stat().st_size) > max_bytes:
            text = f"The document has {size:,} bytes; at most {max_bytes:,} are checked."
            raise DocumentRefused(text, code="SCHEMATRON_TOO_LARGE")
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        try:
            self.root = etree.fromstring(path.read_bytes(), parser)
        except etree.XMLSyntaxError as error:
            raise _refusal(error) from None
        information: Any = self.root.getroottree().docinfo
        if information.doctype:
            text = "The document has a document type (`<!DOCTYPE`). Send it without one."
            raise DocumentRefused(text, code="SCHEMATRON_DOCTYPE")
        if _depth(self.root) > max_depth:
            text = f"The document is nested deeper than {max_depth} levels. Flatten it."
            raise DocumentRefused(text, code="SCHEMATRON_TOO_DEEP")
        self._prefixes = {uri: prefix for prefix, uri in self.root.nsmap.items() if prefix}

    def text(self) -> str:
        """Return the document without its declaration of an encoding."""
        return etree.tostring(self.root, encoding="unicode")

    def place(self, location: str) -> tuple[str, int | None]:
        """Return the path and the line of what XPath's `path()` names: `/Invoice/cbc:ID`, 4."""
        element: etree._Element | None = None
        shown = ""
        for at, (attribute, uri, name, number) in enumerate(_STEP.findall(location)):
            prefix = f"{self._prefixes[uri]}:" if uri in self._prefixes else ""
            position = f"[{number}]" if number and at else ""
            shown += f"/{attribute}{prefix}{name}{position}"
            if attribute or name.endswith("()"):
                continue
            tag = f"{{{uri}}}{name}" if uri else name
            if at == 0:
                element = self.root
            elif element is not None:
                found = element.findall(tag)
                element = found[int(number or 1) - 1] if int(number or 1) <= len(found) else None
        return shown or "/", line_of(element) if element is not None else None


def line_of(element: etree._Element) -> int | None:
    """Return the line of an element in its text."""
    line: Any = element.sourceline  # the stubs do not know its type
    return None if line is None else int(line)


def words_of(element: etree._Element) -> str:
    """Return the text inside an element with single spaces."""
    return " ".join("".join(map(str, element.itertext())).split())


def _refusal(error: etree.XMLSyntaxError) -> DocumentRefused:
    line, column = error.position
    reason = error.msg.removesuffix(f", line {line}, column {column}").strip()
    if "depth" in reason.lower():
        text = "The document is nested deeper than 256 levels. Flatten it."
        return DocumentRefused(text, code="SCHEMATRON_TOO_DEEP", line=line)
    return DocumentRefused(f"This is not XML: {reason}.", code="SCHEMATRON_NOT_XML", line=line)


def _depth(root: etree._Element) -> int:
    deepest = depth = 0
    for event, _element in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest
