"""Documents of Basic rules as plain values: JSON, YAML, XML and tables (CSV, TSV).

A table is a list of rows by column name. An XML element is its text if it has nothing else, else an
object of attributes (`@id`) and of lists of elements by local name. Values of XML and tables are
texts; operators read numbers and truth values from them.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lxml import etree

from validibot.core.echo import echo
from validibot.engines.base import Document
from validibot.engines.basic.paths import EACH, Keys, PathStep
from validibot.engines.json_text import Positions, decode_text, line_and_column, parse_json
from validibot.engines.problems import BadDocument, DocumentProblem
from validibot.engines.xml_text import parse_xml
from validibot.engines.yaml_text import YamlDocument, parse_yaml

MAX_CELL = 128 * 1024
MAX_COLUMNS = 2000
_JSON = (".json", ".epjson", ".geojson", ".jsonld", ".ipynb")
_TABLES = (".csv", ".tsv", ".tab")
_DELIMITERS = ",;\t|"

type Position = tuple[int | None, int | None]


class XmlText(str):
    """The text of an element, with its line."""

    __slots__ = ("line",)
    line: int


class XmlElement(dict[str, Any]):
    """An element with attributes or children; `text` is its own text, `line` its line."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__()
        self.text = text
        self.line = line

    @property
    def has_children(self) -> bool:
        return any(not name.startswith("@") for name in self)


@dataclass(frozen=True, slots=True)
class Tree:
    """A document as plain values. `kind` is json, yaml, xml or table."""

    kind: str
    root: Any
    text: str = ""
    lines: Sequence[int] = ()
    yaml: YamlDocument | None = None
    _positions: list[Positions] = field(default_factory=list)

    @property
    def is_text_only(self) -> bool:
        """Whether numbers and truth values are written as text."""
        return self.kind in ("xml", "table")

    def steps(self, path: Sequence[PathStep]) -> tuple[PathStep, ...]:
        """Return a path with the steps that this kind of document lets authors leave out.

        In a table a name means this column of each row, in XML all elements of this name.
        """
        if self.kind == "table" and path and isinstance(path[0].key, str) and not path[0].deep:
            return (EACH, *path)
        if self.kind != "xml":
            return tuple(path)
        steps: list[PathStep] = []
        for number, step in enumerate(path):
            following = path[number + 1] if number + 1 < len(path) else None
            is_element = isinstance(step.key, str) and not step.key.startswith("@")
            name = step.key.rpartition(":")[2] if isinstance(step.key, str) else step.key
            steps.append(replace(step, key=name) if is_element else step)
            if is_element and not (following and isinstance(following.key, int | None)):
                steps.append(EACH)
        return tuple(steps)

    def shown(self, keys: Keys) -> str:
        """Return a place for messages, such as `items[2].price`, or "row 3, `price`"."""
        if self.kind == "table" and keys and isinstance(keys[0], int):
            row = f"row {keys[0] + 1}"
            return f"{row}, `{keys[1]}`" if len(keys) > 1 else row
        text, value = "", self.root
        for key in keys:
            is_only = self.kind == "xml" and isinstance(value, list) and len(value) == 1
            if isinstance(key, str):
                text += (
                    f".{key}" if key.replace("-", "").isidentifier() or "@" in key else f"[{key!r}]"
                )
            elif not is_only:
                text += f"[{key}]"
            value = _child(value, key)
        return f"`{text.removeprefix('.') or '$'}`"

    def pointer(self, keys: Keys) -> str:
        """Return a place as a JSON Pointer (RFC 6901); of a table as row and column."""
        if self.kind == "table" and keys:
            keys = (int(keys[0]) + 1, *keys[1:])
        return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)

    def position(self, keys: Keys) -> Position:
        """Return line and column of a value or its nearest parent, where they are known."""
        match self.kind:
            case "table":
                known = bool(keys) and int(keys[0]) < len(self.lines)
                return (self.lines[int(keys[0])] if known else None, None)
            case "xml":
                return _line(self.root, keys), None
            case "yaml":
                return self.yaml.position_of(keys) if self.yaml else (None, None)
        if not self._positions:
            self._positions.append(Positions(self.text))
        return self._positions[0].of(keys)


def _child(value: Any, key: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(key))
    is_inside = isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value)
    return value[key] if is_inside else None


def _line(root: Any, keys: Keys) -> int | None:
    line, value = getattr(root, "line", None), root
    for key in keys:
        value = _child(value, key)
        line = getattr(value, "line", line)
    return line


def read_tree(document: Document) -> Tree:
    """Return a document as plain values, by its name or else its first character.

    Raises BadDocument.
    """
    name = document.filename.lower()
    start = document.content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if document.is_yaml:
        return _read_yaml(document.content)
    if name.endswith(_TABLES):
        return _read_table(document.content, tabs=not name.endswith(".csv"))
    if name.endswith(_JSON) or (start in (b"{", b"[") and not name.endswith(".xml")):
        return Tree("json", parse_json(document.content), text=decode_text(document.content))
    if name.endswith((".xml", ".xsd", ".gbxml", ".ifcxml")) or start == b"<":
        return Tree("xml", _xml(parse_xml(document.content)))
    message = (
        f"{document.filename} is neither JSON, YAML, XML, CSV nor TSV. Send such a file, with the"
        " extension of its format."
    )
    raise BadDocument(DocumentProblem(message, code="document.format"))


def _read_yaml(content: bytes) -> Tree:
    documents = parse_yaml(content)
    if len(documents) > 1:
        line, column = documents[1].start
        message = f"The file has {len(documents)} documents; rules read one."
        raise BadDocument(DocumentProblem(message, code="yaml.several", line=line, column=column))
    return Tree("yaml", documents[0].value, yaml=documents[0])


def _xml(element: etree._Element) -> XmlText | XmlElement:
    """Return the value of an element. The parser bounds the depth of the recursion."""
    text = (element.text or "").strip()
    line: Any = element.sourceline
    children: list[Any] = list(element.iterchildren("*"))
    if not children and not element.attrib:
        value = XmlText(text)
        value.line = line
        return value
    found = XmlElement(text, line)
    for name, attribute in element.attrib.items():
        found[f"@{etree.QName(str(name)).localname}"] = str(attribute)
    for child in children:
        found.setdefault(etree.QName(child).localname, []).append(_xml(child))
    return found


def _read_table(content: bytes, *, tabs: bool) -> Tree:
    text = decode_text(content)
    if "\0" in text:
        line, column = line_and_column(text, text.index("\0"))
        problem = DocumentProblem(
            "The table has a NUL character; save it as a text file.",
            code="table.nul",
            line=line,
            column=column,
        )
        raise BadDocument(problem)
    first = text.lstrip().split("\n", 1)[0]
    delimiter = "\t" if tabs else max(_DELIMITERS, key=first.count)
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return _rows(reader)
    except csv.Error as error:
        reason = f"a cell has more than {MAX_CELL} characters" if "limit" in str(error) else error
        message = f"The table cannot be read: {reason}."
        problem = DocumentProblem(message, code="table.invalid", line=reader.line_num)
        raise BadDocument(problem) from None


def _rows(reader: Any) -> Tree:
    header = [name.strip() for name in next(reader, [])]
    if len(header) > MAX_COLUMNS:
        raise _refused(f"more than {MAX_COLUMNS} columns")
    if len(set(header)) < len(header):
        repeated = next(name for name in header if header.count(name) > 1)
        raise _refused(f"more than one column {echo(repeated)}")
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    line = reader.line_num + 1
    for cells in reader:
        if cells:
            if len(cells) != len(header):
                message = (
                    f"Row {len(rows) + 1} has {len(cells)} cells; the header has {len(header)}."
                )
                raise BadDocument(DocumentProblem(message, code="table.ragged", line=line))
            # An empty cell is no value.
            row = zip(header, cells, strict=True)
            rows.append({name: cell for name, cell in row if cell.strip()})
            lines.append(line)
        line = reader.line_num + 1
    return Tree("table", rows, lines=lines)


def _refused(reason: str) -> BadDocument:
    return BadDocument(DocumentProblem(f"The table has {reason}.", code="table.invalid", line=1))
