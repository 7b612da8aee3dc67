"""Growth of the parsers' time with the size of hostile input, over doubling sizes.

`python -m tests.bench.parsers` prints one row for each case. A parser that takes time in proportion
to the size doubles it with each doubling; one that takes the square quadruples it. The median of
the ratios is compared with a limit between the two, so the speed of the machine does not matter.

A case is a name, a function from a size to content, and what reads the content. Add the cases of
another parser to `CASES`. `BOUNDED` has inputs whose cost does not grow with their size but
explodes: a check of them ends within the limits of its engine's manifest, here a few seconds.
`SPEED` has large valid documents.
"""

import itertools
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from validators.energyplus.model import ModelField, read_model
from validators.energyplus.text import ModelUnreadable, read_text
from validators.fmu.description import FmuRefused, read_description
from validators.schematron.compile import compile_schema
from validibot.engines import Document, Engine, Result
from validibot.engines.assertions import Rule, evaluate
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


def _compile_schematron(content: bytes) -> None:
    compile_schema(content.decode())


CASES = [
    Case(
        "Schematron schema, an assertion for each 1,000 bytes",
        lambda size: (
            b'<schema xmlns="http://purl.oclc.org/dsdl/schematron"><pattern><rule context="a">'
            + (b'<assert test="b">c</assert>' + b" " * 972) * (size // 1000)
            + b"</rule></pattern></schema>"
        ),
        _compile_schematron,
    ),
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


# Processor time of the child process for `BOUNDED`; the manifests say 10 or 30 s.
SECONDS = 3
# Starting the child process, and work before and after it.
OVERHEAD = 2
_XS = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r">{}</xs:element></xs:schema>'
_RNG = (
    '<grammar xmlns="http://relaxng.org/ns/structure/1.0"><start><element name="r">{}</element>'
    "</start></grammar>"
)
_ENTITIES = "".join(f'<!ENTITY % a{n} "{f"%a{n - 1};" * 10}">' for n in range(1, 12))


def _doubling(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {"d0": {"type": "integer"}}
    for number in range(1, levels):
        used = {"$ref": f"#/$defs/d{number - 1}"}
        definitions[f"d{number}"] = {"oneOf": [used, {"allOf": [used, {"type": "string"}]}]}
    return {"$defs": definitions, "$ref": f"#/$defs/d{levels - 1}"}


def _nested_one_of(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"oneOf": [schema, {"type": "string"}]}
    return schema


_TWO_WAYS = {
    "allOf": [
        {"properties": {"a": {"$ref": "#"}}},
        {"properties": {"a": {"$ref": "#"}, "b": False}},
    ]
}
_LOOK_AROUND = {"items": {"anyOf": [{"pattern": r"^(?=a)(?:(a+)+\\1)+$"}, {"pattern": "^(?=b)"}]}}
_CHOICE = "".join(f'<xs:element name="a{n}" minOccurs="0" maxOccurs="9"/>' for n in range(900))
_COUNTS = (
    '<xs:complexType><xs:sequence maxOccurs="99999"><xs:element name="a" maxOccurs="99999"/>'
    '<xs:element name="b" minOccurs="0" maxOccurs="99999"/></xs:sequence></xs:complexType>'
)
_PATTERN = (
    '<xs:complexType><xs:sequence><xs:element name="i" maxOccurs="unbounded"><xs:simpleType>'
    '<xs:restriction base="xs:string"><xs:pattern value="(a+)+b|(a|aa)+c"/></xs:restriction>'
    "</xs:simpleType></xs:element></xs:sequence></xs:complexType>"
)
_INTERLEAVE = "".join(
    f'<interleave><zeroOrMore><element name="a"><empty/></element></zeroOrMore><optional>'
    f'<element name="b{n}"><empty/></element></optional></interleave>'
    for n in range(200)
)
_LOOP = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"


@dataclass(frozen=True)
class Bounded:
    """An input whose check would take hours without limits, and the settings of its engine."""

    name: str
    engine: str
    content: bytes = b""
    config: Mapping[str, Any] = field(default_factory=dict)
    expression: str = ""

    def run(self) -> None:
        """Save a step and check a document, or evaluate an expression."""
        module: Any = import_module(f"validibot.engines.{self.engine}")
        engine: Engine = module.ENGINE
        module.ENGINE = replace(engine, manifest=replace(engine.manifest, seconds=SECONDS))
        try:
            if self.expression:
                evaluate([Rule(expression=self.expression)], {"payload": ["a"] * 1000})
                return
            engine.config.model_validate(self.config)
            engine.check(Document(self.content, "a", ""), self.config)
        except ValueError:  # refused when the step is saved
            return
        finally:
            module.ENGINE = engine


def _xml(name: str, content: str, schema: str) -> Bounded:
    return Bounded(name, "xml_schema", content.encode(), {"schema": schema})


def _json(name: str, content: str, schema: Mapping[str, Any]) -> Bounded:
    return Bounded(name, "json_schema", content.encode(), {"schema": schema})


def _cel(name: str, expression: str) -> Bounded:
    return Bounded(name, "assertions", expression=expression)


BOUNDED = [
    _json("JSON Schema, 60 definitions that use the one before twice", "1", _doubling(60)),
    _json(
        "JSON Schema, recursion with two ways, 100 deep", '{"a":' * 100 + "1" + "}" * 100, _TWO_WAYS
    ),
    _json("JSON Schema, oneOf inside oneOf, 100 deep", "[]", _nested_one_of(100)),
    _json("JSON Schema, a cycle of references", "1", {"$ref": "#"}),
    _json(
        "JSON Schema, patterns with look-around",
        json.dumps(["a" * 40 + "!"] * 50_000),
        _LOOK_AROUND,
    ),
    _xml(
        "XSD, a choice of 900 optional elements",
        "<r/>",
        _XS.format(
            f'<xs:complexType><xs:choice minOccurs="0" maxOccurs="unbounded">{_CHOICE}</xs:choice>'
            "</xs:complexType>"
        ),
    ),
    _xml("XSD, maxOccurs of 99999 inside another", f"<r>{'<a/>' * 9_000}</r>", _XS.format(_COUNTS)),
    _xml(
        "XSD, a pattern that backtracks",
        f"<r>{f'<i>{"a" * 60}</i>' * 99}</r>",
        _XS.format(_PATTERN),
    ),
    _xml(
        "RELAX NG, 200 interleaved groups", f"<r>{'<a/>' * 2_000}<c/></r>", _RNG.format(_INTERLEAVE)
    ),
    _xml(
        "DTD, a violation for each 4 bytes",
        f"<r>{'<i/>' * 250_000}</r>",
        "<!ELEMENT r (i*)><!ELEMENT i EMPTY><!ATTLIST i id CDATA #REQUIRED>",
    ),
    _xml(
        "DTD, entities of entities",
        "<r/>",
        f'<!ENTITY % a0 "    ">{_ENTITIES}<!ELEMENT r ANY>%a11;',
    ),
    _cel("CEL, text that doubles", "['aaaaaaaa']" + ".map(x, x + x)" * 27 + "[0] == ''"),
    _cel("CEL, a list of a billion numbers", "lists.range(1000000000).size() > 0"),
    _cel(
        "CEL, lists of lists that are compared",
        "[[payload, payload]].all(a, [[a, a]].all(b, [[b, b]].all(c, [[c, c]].all(d, d == d))))",
    ),
    _cel(
        "CEL, six nested loops",
        f"{_LOOP}.all(a, {_LOOP}.all(b, {_LOOP}.all(c, {_LOOP}.all(d,"
        f" {_LOOP}.all(e, {_LOOP}.all(f, true))))))",
    ),
    _cel("CEL, a pattern that repeats a repetition", "payload.all(x, x.matches('^(a+)+$'))"),
]


def bounds() -> Iterator[Row]:
    """Yield a row for each input that would take hours: name, time, limit."""
    for case in BOUNDED:
        started = sum(os.times()[:4])
        case.run()
        seconds = sum(os.times()[:4]) - started
        yield case.name, f"{seconds:.2f} s", f"≤ {SECONDS + OVERHEAD} s"


def speed() -> Iterator[Row]:
    """Yield the processor time of valid documents of 15 MB."""
    row = '{{"id": {0}, "name": "name {0}", "value": {0}.5, "tags": ["a", "b"]}}'
    content = f"[{','.join(map(row.format, range(200_000)))}]".encode()
    yield _fastest("JSON Schema, a valid document", content, check_json, _ROWS, "≤ 1.5 s")
    element = '<i id="{0}"><n>name {0}</n><v>{0}.5</v></i>\n'
    content = f"<r>{''.join(map(element.format, range(290_000)))}</r>".encode()
    yield _fastest("XML Schema, a valid document", content, check_xml, _ELEMENTS, "≤ 1 s")


_ROWS = {
    "schema": {
        "items": {
            "required": ["id", "name", "value"],
            "properties": {
                "id": {"type": "integer"},
                "name": {"type": "string", "maxLength": 50},
                "value": {"type": "number"},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
        }
    }
}
_ELEMENTS = {
    "schema": _XS.format(
        '<xs:complexType><xs:sequence><xs:element name="i" maxOccurs="unbounded"><xs:complexType>'
        '<xs:sequence><xs:element name="n" type="xs:string"/><xs:element name="v" type="xs:double"/>'
        '</xs:sequence><xs:attribute name="id" type="xs:int"/></xs:complexType></xs:element>'
        "</xs:sequence></xs:complexType>"
    )
}


def _fastest(
    name: str,
    content: bytes,
    check: Callable[[Document, Mapping[str, Any]], Result],
    config: Mapping[str, Any],
    target: str,
) -> Row:
    case = Case(name, lambda _: content, lambda each: check(Document(each, "a", ""), config))
    seconds = _seconds(case, len(content))
    return f"{name} of {len(content) / 1e6:.0f} MB", f"{seconds:.2f} s", target


def measure() -> Iterator[Row]:
    """Yield a row for each case: name, growth and time, limit."""
    yield from speed()
    yield from bounds()
    for case in CASES:
        seconds = [_seconds(case, size) for size in SIZES]
        growth = growth_of(seconds)
        figures = f"{growth:.1f} times for twice the size; {seconds[-1]:.2f} s for 8 MB"
        yield case.name, figures, f"≤ {GROWTH_LIMIT:.0f} times"


TICK = 0.01  # seconds; the clock of processor time is no finer


def growth_of(seconds: list[float]) -> float:
    """Return the median factor from one size to the next."""
    measurable = [max(each, TICK) for each in seconds]
    return statistics.median(later / sooner for sooner, later in itertools.pairwise(measurable))


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
