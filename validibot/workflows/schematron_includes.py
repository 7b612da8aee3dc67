"""Schematron schemas of several files: `sch:include` and `sch:extends href` are replaced by their texts.

The validator takes one text. ISO/IEC 19757-3 says what an include is replaced by (the element that it
refers to), and an `extends` with `href` (the content of that element).
"""

import re
from collections.abc import Mapping, Sequence
from posixpath import dirname, join, normpath

from lxml import etree

from validibot.core.echo import echo

SCHEMATRON = "{http://purl.oclc.org/dsdl/schematron}"
MAX_RULES_CHARACTERS = 2_000_000
MAX_DEPTH = 20
_DECLARATION = re.compile(r"^\s*<\?xml\b.*?\?>", re.DOTALL)


def read_schema(text: str) -> etree._Element:
    """Return the root of a schema. Raises ValueError."""
    root = _read(text, "The rules are")
    if root.tag != f"{SCHEMATRON}schema":
        raise ValueError(
            f"The root element of the rules is {root.tag}; it must be `schema` of the namespace "
            f"{SCHEMATRON.strip('{}')}"
        )
    return root


def merged_schema(text: str, documents: Mapping[str, str]) -> etree._Element:
    """Return the root of a schema with everything in it that it includes. Raises ValueError.

    `documents` are the other texts by name; a reference is relative to the text that has it.
    """
    root = read_schema(text)
    _Includes(documents, len(text)).expand(root, ())
    return root


class _Includes:
    """The replacement of references, which counts the characters: a text may be included often."""

    def __init__(self, documents: Mapping[str, str], characters: int) -> None:
        self._documents = documents
        self._characters = characters

    def expand(self, root: etree._Element, path: Sequence[str]) -> None:
        """Replace the references below an element; `path` has the names of the texts around it."""
        references = [
            each
            for each in root.iter(f"{SCHEMATRON}include", f"{SCHEMATRON}extends")
            if each.get("href") is not None
        ]
        for element in references:
            href = element.get("href", "")
            name, _, fragment = href.partition("#")
            name = normpath(join(dirname(path[-1]) if path else "", name))
            target = _part(self._text(name, href, path), name, fragment)
            self.expand(target, (*path, name))
            _replace(element, target)

    def _text(self, name: str, href: str, path: Sequence[str]) -> str:
        if name in path:
            raise ValueError(f"The document {echo(name)} includes itself; remove the circle")
        if len(path) >= MAX_DEPTH:
            raise ValueError(f"The rules are included more than {MAX_DEPTH} levels deep")
        if name not in self._documents:
            known = ", ".join(map(repr, self._documents)) or "none"
            raise ValueError(
                f"The rules refer to {echo(href, most=200)}, which is not given. Add {echo(name, most=200)} to"
                f" `documents`; the documents of the step are: {known[:500]}"
            )
        text = self._documents[name]
        self._characters += len(text)
        if self._characters > MAX_RULES_CHARACTERS:
            raise ValueError(
                f"The rules have more than {MAX_RULES_CHARACTERS:,} characters with all that they"
                " include; include each document once"
            )
        return text


def _part(text: str, name: str, fragment: str) -> etree._Element:
    """Return the root of a document, or the element whose id the fragment is. Raises ValueError."""
    root = _read(text, f"The document {echo(name)} is")
    if fragment:
        named = [each for each in root.iter(f"{SCHEMATRON}*") if each.get("id") == fragment]
        if not named:
            raise ValueError(
                f"The document {echo(name)} has no element with the id {echo(fragment)}"
            )
        root = named[0]
    if not str(root.tag).startswith(SCHEMATRON) or root.tag == f"{SCHEMATRON}schema":
        raise ValueError(
            f"The document {echo(name)} begins with {root.tag}, which cannot be included; it must be a"
            " part of a schema, such as `pattern`"
        )
    return root


def _replace(element: etree._Element, target: etree._Element) -> None:
    """Put a target in place of an include, or its content in place of an `extends`."""
    parent = element.getparent()
    if parent is None:
        raise ValueError("A document cannot consist of an include only")
    is_include = element.tag == f"{SCHEMATRON}include"
    at = parent.index(element)
    target.tail = None
    parent[at : at + 1] = [target] if is_include else list(target)


def _read(text: str, what: str) -> etree._Element:
    """Return the root element of a text, without reading anything else. Raises ValueError."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        # The text is UTF-8 now, whatever encoding it declares.
        return etree.fromstring(_DECLARATION.sub("", text, count=1).encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ValueError(f"{what} not XML: {error}") from None
