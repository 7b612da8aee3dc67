"""Schema documents of an XML step: references between them become references that a parser can follow.

A reference names a document of the step by its name or the last part of its address, or, for an import,
by its namespace. The schemas of the W3C that others import are part of this package. Documents
that are not there are told by name, all at once.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from lxml import etree

from validibot.core.echo import echo
from validibot.engines.base import EngineError
from validibot.engines.json_documents import MAX_DOCUMENTS, MAX_SCHEMA_CHARACTERS
from validibot.engines.problems import BadDocument
from validibot.engines.xml_text import parse_xml

MAX_INCLUDED_CHARACTERS = 4 * MAX_SCHEMA_CHARACTERS
XSD = "http://www.w3.org/2001/XMLSchema"
RELAX_NG = "http://relaxng.org/ns/structure/1.0"
# The name of the main schema among the documents.
MAIN = "\0schema"
# Before the file names of bundled schemas: a document of a step cannot have such a name.
_W3C = "\0w3c/"
_FOLDER = Path(__file__).parent / "schemas"
_BUNDLED = {
    "http://www.w3.org/XML/1998/namespace": "xml.xsd",
    "http://www.w3.org/1999/xlink": "xlink.xsd",
    "http://www.w3.org/2000/09/xmldsig#": "xmldsig-core-schema.xsd",
    "http://www.w3.org/2009/xmldsig11#": "xmldsig11-schema.xsd",
    "http://www.w3.org/2001/04/xmlenc#": "xenc-schema.xsd",
    "http://www.w3.org/2009/xmlenc11#": "xenc-schema-11.xsd",
    "http://schemas.xmlsoap.org/soap/envelope/": "soap-envelope.xsd",
    "http://schemas.xmlsoap.org/soap/encoding/": "soap-encoding.xsd",
    "http://schemas.xmlsoap.org/wsdl/": "wsdl.xsd",
    "http://schemas.xmlsoap.org/wsdl/soap/": "wsdl-soap.xsd",
}
_DECLARATION = re.compile(r"^<\?xml\b.*?\?>", re.DOTALL)
_DTD_FILE = "main.dtd"


class XmlSchemas(NamedTuple):
    """The texts of the main schema and of the documents beside it, by name."""

    main: str
    documents: tuple[tuple[str, str], ...] = ()


def read_schemas(config: Mapping[str, Any]) -> XmlSchemas:
    """Return the schemas of a step's settings. Raises EngineError."""
    main = config.get("schema")
    if not isinstance(main, str) or not main.strip():
        raise EngineError("The step has no schema: set `schema` in its configuration.")
    documents = config.get("documents") or {}
    if len(documents) > MAX_DOCUMENTS:
        raise EngineError(f"`documents` has {len(documents)} schemas; at most {MAX_DOCUMENTS}.")
    if len(main) + sum(map(len, documents.values())) > MAX_SCHEMA_CHARACTERS:
        raise EngineError(f"The schema has more than {MAX_SCHEMA_CHARACTERS} characters.")
    return XmlSchemas(main, tuple(documents.items()))


def parse_schema(text: str, name: str = MAIN) -> etree._Element:
    """Return the root element of a schema document. Raises EngineError."""
    # The text is decoded, so the encoding in its declaration does not apply any more.
    content = _DECLARATION.sub("", text.strip()).encode()
    title = "The schema" if name == MAIN else f"The document {echo(name)}"
    try:
        return parse_xml(content)
    except BadDocument as bad:
        problem = bad.problem
        place = f" (line {problem.line}, column {problem.column})" if problem.line else ""
        raise EngineError(f"{title} is not XML: {problem.message}{place}") from None


class SchemaDocuments:
    """The documents of a step, by the names that references use."""

    def __init__(self, schemas: XmlSchemas) -> None:
        self._texts = dict(schemas.documents)
        self._missing: list[str] = []
        self._characters = 0

    def find(self, location: str, base: str) -> str:
        """Return the name of the document that `location` means in the document `base`, or ""."""
        folder = posixpath.dirname(base)
        names = [
            location,
            posixpath.normpath(posixpath.join(folder, location)),
            posixpath.basename(location.partition("#")[0].partition("?")[0]),
        ]
        return next((name for name in names if name in self._texts), "")

    def text(self, name: str) -> str:
        """Return the text of a document. Raises EngineError after too many texts.

        A document that includes the next one twice would double them.
        """
        text = self._texts[name]
        self._characters += len(text)
        if self._characters > MAX_INCLUDED_CHARACTERS:
            raise EngineError("The documents that the schema includes are too large together.")
        return text

    def root(self, name: str) -> etree._Element:
        return parse_schema(self.text(name), name)

    def miss(self, location: str) -> None:
        if location not in self._missing:
            self._missing.append(location)

    def require_all(self) -> None:
        """Raise EngineError if a document was not found."""
        if self._missing:
            missing = ", ".join(map(repr, self._missing[:20]))
            known = ", ".join(map(repr, self._texts)) or "none"
            raise EngineError(
                f"The schema refers to {missing}, which is not given. Add it to `documents` by"
                f" that name; the documents of the step are: {known}."
            )

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)


class _Read(NamedTuple):
    """An XSD document that was read, with its references: element and name of the target."""

    root: etree._Element
    targets: list[tuple[etree._Element, str]]


class XsdDocuments(etree.Resolver):
    """The XSD documents that the main schema reaches; a resolver for the parser that compiles them.

    libxml2 reads only one document for an imported namespace. Where a schema imports several,
    a document that includes them all takes their place.
    """

    def __init__(self, schemas: XmlSchemas) -> None:
        super().__init__()
        self._documents = SchemaDocuments(schemas)
        self._namespaces: dict[str, list[str]] | None = None
        self._read: dict[str, _Read] = {}
        self._imported: dict[str, list[str]] = {}
        self._numbers: dict[str, int] = {MAIN: 0}
        self._texts: dict[str, bytes] = {}
        main = parse_schema(schemas.main)
        pending = [(MAIN, main)]
        self._target = main.get("targetNamespace", "")
        while pending:
            name, root = pending.pop()
            if name not in self._read:
                self._read[name] = _Read(root, [])
                following = self._follow(name, root)
                pending += [(each, self._root(each)) for each in following if each != MAIN]
        self._documents.require_all()
        for each in self._read.values():
            self._rewrite(each)

    def main(self) -> bytes:
        """Return the main schema with references that this resolver resolves."""
        return etree.tostring(self._read[MAIN].root)

    def name_of(self, url: str) -> str:
        """Return the name of the document that the parser read from `url`, or ""."""
        return next((name for name in self._read if self._url(name) == url), "")

    def resolve(self, system_url: str, public_id: str, context: Any = None) -> Any:
        if system_url in self._texts:
            return self.resolve_string(self._texts[system_url], context, base_url=system_url)
        for name, each in self._read.items():
            if self._url(name) == system_url:
                content = etree.tostring(each.root)
                return self.resolve_string(content, context, base_url=system_url)
        return _refuse()

    def _root(self, name: str) -> etree._Element:
        if name.startswith(_W3C):
            return _bundled(name.removeprefix(_W3C))
        return self._documents.root(name)

    def _follow(self, name: str, root: etree._Element) -> list[str]:
        found: list[str] = []
        for element in root.iterchildren(*(f"{{{XSD}}}{tag}" for tag in _TAGS)):
            target = self._target_of(element, name)
            if target:
                self._read[name].targets.append((element, target))
                found.append(target)
        return found

    def _target_of(self, element: etree._Element, base: str) -> str:
        location = element.get("schemaLocation", "")
        is_import = etree.QName(element).localname == "import"
        namespace = element.get("namespace", "")
        names = [self._documents.find(location, base)] if location else []
        if is_import:
            names += self._of_namespace(namespace, base)
        target = next(filter(None, names), "")
        if not target and location:
            self._documents.miss(location)
        if target and is_import and target not in self._imported.setdefault(namespace, []):
            self._imported[namespace].append(target)
        return target

    def _of_namespace(self, namespace: str, base: str) -> list[str]:
        if namespace == self._target and base != MAIN:
            return [MAIN]
        if self._namespaces is None:
            self._namespaces = {}
            for name in self._documents:
                own = self._documents.root(name).get("targetNamespace", "")
                self._namespaces.setdefault(own, []).append(name)
        known = self._namespaces.get(namespace, [])
        return known or [_W3C + _BUNDLED[namespace]] if namespace in _BUNDLED else known

    def _rewrite(self, document: _Read) -> None:
        for element, target in document.targets:
            url = self._url(target)
            namespace = element.get("namespace", "")
            if etree.QName(element).localname == "import" and len(self._imported[namespace]) > 1:
                url = self._include_all(namespace)
            element.set("schemaLocation", url)

    def _include_all(self, namespace: str) -> str:
        url = f"all-{sorted(self._imported).index(namespace)}.xsd"
        root = etree.Element(f"{{{XSD}}}schema", nsmap={"xs": XSD})
        if namespace:
            root.set("targetNamespace", namespace)
        for name in self._imported[namespace]:
            etree.SubElement(root, f"{{{XSD}}}include", schemaLocation=self._url(name))
        self._texts[url] = etree.tostring(root)
        return url

    def _url(self, name: str) -> str:
        return f"document-{self._numbers.setdefault(name, len(self._numbers))}.xsd"


_TAGS = ("include", "import", "redefine")


@cache
def _bundled_text(file: str) -> bytes:
    return (_FOLDER / file).read_bytes()


def _bundled(file: str) -> etree._Element:
    root = parse_xml(_bundled_text(file))
    for element in root.iterfind(f"{{{XSD}}}import[@schemaLocation]"):
        # The namespace tells the document; the address would have to be fetched.
        del element.attrib["schemaLocation"]
    return root


def _refuse() -> NoReturn:
    raise ValueError("other files are not read")


def relax_ng(schemas: XmlSchemas) -> etree._Element:
    """Return the grammar with the documents that it includes in place. Raises EngineError.

    See 4.6 and 4.7 of the RELAX NG specification: an `externalRef` stands for a pattern, an `include` for
    the definitions of a grammar except those that it defines itself.
    """
    documents = SchemaDocuments(schemas)
    root = parse_schema(schemas.main)
    _insert(root, MAIN, documents, ())
    documents.require_all()
    return root


def _insert(
    root: etree._Element, base: str, documents: SchemaDocuments, path: Sequence[str]
) -> None:
    references = list(root.iter(f"{{{RELAX_NG}}}include", f"{{{RELAX_NG}}}externalRef"))
    for element in references:
        location = element.get("href", "")
        name = documents.find(location, base)
        if not name:
            documents.miss(location)
            continue
        if name in path or len(path) > MAX_DOCUMENTS:
            raise EngineError(f"The document {echo(name)} includes itself.")
        other = documents.root(name)
        _insert(other, name, documents, (*path, name))
        if etree.QName(element).localname == "include":
            _include(element, other)
        else:
            _replace(element, other)


def _include(element: etree._Element, grammar: etree._Element) -> None:
    own = {_defined(each) for each in element.iter() if _defined(each)}
    for each in list(grammar.iter()):
        if _defined(each) in own and (parent := each.getparent()) is not None:
            parent.remove(each)
    del element.attrib["href"]
    element.tag = f"{{{RELAX_NG}}}div"
    grammar.tag = f"{{{RELAX_NG}}}div"
    element.insert(0, grammar)


def _defined(element: etree._Element) -> str:
    """Return the name that an element defines, "start" for the start, or ""."""
    if element.tag == f"{{{RELAX_NG}}}start":
        return "start"
    return f"={element.get('name')}" if element.tag == f"{{{RELAX_NG}}}define" else ""


def _replace(element: etree._Element, other: etree._Element) -> None:
    parent = element.getparent()
    if parent is not None:
        other.tail = element.tail
        parent.replace(element, other)


class _DtdDocuments(etree.Resolver):
    """The texts of a step as external parameter entities of its DTD; nothing else is ever read."""

    def __init__(self, documents: SchemaDocuments, main: str) -> None:
        super().__init__()
        self._documents = documents
        self._main = main

    def resolve(self, system_url: str, public_id: str, context: Any = None) -> Any:
        if system_url == _DTD_FILE:
            return self.resolve_string(self._main.encode(), context, base_url=system_url)
        name = self._documents.find(system_url, "")
        if name:
            text = _DECLARATION.sub("", self._documents.text(name))
            return self.resolve_string(text.encode(), context, base_url=system_url)
        self._documents.miss(system_url)
        return self.resolve_string("", context, base_url=system_url)


def document_type(schemas: XmlSchemas) -> etree.DTD:
    """Return a DTD with the documents that it includes. Raises EngineError or XMLSyntaxError.

    It is read as the external subset of a document, because only then does a resolver decide about
    every file that libxml2 wants, also about those that entities declare when they expand.
    """
    documents = SchemaDocuments(schemas)
    main = _DECLARATION.sub("", schemas.main.lstrip("\ufeff \t\r\n"))
    parser = etree.XMLParser(load_dtd=True, no_network=True, resolve_entities=False)
    parser.resolvers.add(_DtdDocuments(documents, main))
    root = etree.fromstring(f'<!DOCTYPE x SYSTEM "{_DTD_FILE}"><x/>'.encode(), parser)
    documents.require_all()
    return root.getroottree().docinfo.externalDTD
