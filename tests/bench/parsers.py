"""Growth of the parsers' time with the size of hostile input, over doubling sizes.

`python -m tests.bench.parsers` prints one row for each case. A parser that takes time in proportion
to the size doubles it with each doubling; one that takes the square quadruples it. The median of
the ratios is compared with a limit between the two, so the speed of the machine does not matter.

A case is a name, a function from a size to content, and what reads the content. Add the cases of
another parser to `CASES`.
"""

import itertools
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from validators.energyplus.model import ModelField, read_model
from validators.energyplus.text import ModelUnreadable, read_text
from validators.fmu.archive import FmuRefused
from validators.fmu.description import read_description
from validibot.engines import Document
from validibot.engines.json_schema import check as check_json
from validibot.engines.xml_schema import check as check_xml

type Row = tuple[str, str, str]

# Of 1 MB, 2 MB, 4 MB, 8 MB: large enough that fixed costs do not hide the growth.
SIZES = tuple(1_000_000 * 2**doubling for doubling in range(4))
GROWTH_LIMIT = 3.0


@dataclass(frozen=True)
class Case:
    """Hostile input of any size, and its reader."""

    name: str
    content: Callable[[int], bytes]
    read: Callable[[bytes], object]


def _read_idf(content: bytes) -> None:
    with suppress(ModelUnreadable):
        text, _ = read_text(content)
        model = read_model(text, epjson=False)
        for item in model.of_kind("Timestep"):
            model.update(item, {ModelField(position=0, key=""): 6})
        model.dump()


def _read_epjson(content: bytes) -> None:
    with suppress(ModelUnreadable):
        text, _ = read_text(content)
        read_model(text, epjson=True)


_JSON_SCHEMA = {"schema": {"items": {"type": "object"}}}
_XML_SCHEMA = {
    "schema": '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r">'
    '<xs:complexType><xs:sequence><xs:element name="i" maxOccurs="unbounded"><xs:complexType>'
    '<xs:attribute name="id" type="xs:int"/></xs:complexType></xs:element></xs:sequence>'
    "</xs:complexType></xs:element></xs:schema>"
}


def _check_json(content: bytes) -> None:
    check_json(Document(content, "a.json", ""), _JSON_SCHEMA)


def _check_xml(content: bytes) -> None:
    check_xml(Document(content, "a.xml", ""), _XML_SCHEMA)


def _read_description(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, "modelDescription.xml").write_bytes(content)
        with suppress(FmuRefused):
            read_description(Path(folder))


_FMU = b'<fmiModelDescription fmiVersion="3.0"><CoSimulation modelIdentifier="a"/><ModelVariables>'

CASES = [
    Case(
        "FMU description, variables of one name",
        lambda size: (
            _FMU
            + b'<Float64 name="x"/>' * (size // 19)
            + b"</ModelVariables></fmiModelDescription>"
        ),
        _read_description,
    ),
    Case(
        "JSON Schema, a violation for each 40 bytes",
        lambda size: b"[" + b"1," * (size // 40) + b" " * (size // 2) + b"1]",
        _check_json,
    ),
    Case(
        "XML Schema, a violation for each 12 bytes",
        lambda size: b"<r>" + b'<i id="x"/>' * (size // 12) + b"</r>",
        _check_xml,
    ),
    Case(
        "IDF, a comment after the last object", lambda size: b"Zone,A;\n!" + b"x" * size, _read_idf
    ),
    Case("IDF, text without a semicolon", lambda size: b"{" * size, _read_idf),
    Case(
        "IDF, white space after the last object", lambda size: b"Zone,A;" + b" " * size, _read_idf
    ),
    Case("IDF, one object of commas", lambda size: b"Zone" + b"," * size + b";", _read_idf),
    Case("IDF, edited objects", lambda size: b"Timestep,4;\n" * (size // 12), _read_idf),
    Case("epJSON, opening brackets", lambda size: b"[" * size, _read_epjson),
    Case(
        "epJSON, one list of numbers",
        lambda size: b'{"Zone":{"A":{"a":[' + b"1," * (size // 2) + b"1]}}}",
        _read_epjson,
    ),
]


def measure() -> Iterator[Row]:
    """Yield a row for each case: name, growth and time, limit."""
    for case in CASES:
        seconds = [_seconds(case, size) for size in SIZES]
        growth = growth_of(seconds)
        figures = f"{growth:.1f} times for twice the size; {seconds[-1]:.2f} s for 8 MB"
        yield case.name, figures, f"≤ {GROWTH_LIMIT:.0f} times"


def growth_of(seconds: list[float]) -> float:
    """Return the median factor from one size to the next."""
    return statistics.median(later / sooner for sooner, later in itertools.pairwise(seconds))


def _seconds(case: Case, size: int) -> float:
    """Return the shortest of three measurements: others are disturbed by the machine."""
    content = case.content(size)
    return min(_once(case, content) for _ in range(3))


def _once(case: Case, content: bytes) -> float:
    started = sum(os.times()[:4])  # of this process and of its children
    case.read(content)
    return sum(os.times()[:4]) - started


if __name__ == "__main__":
    for row in measure():
        sys.stdout.write(f"| {' | '.join(row)} |\n")
