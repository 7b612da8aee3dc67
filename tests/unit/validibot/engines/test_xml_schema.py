"""The XML Schema engine."""

from dataclasses import replace

import pytest
from lxml import etree

from validibot.engines import Document, EngineError, Result, get_engine, xml_schema, xml_stream
from validibot.engines.xml_documents import XmlSchemas
from validibot.engines.xml_grammars import compiled
from validibot.engines.xml_schema import MAX_TREE_BYTES

SCHEMA = """<?xml version="1.0" encoding="ISO-8859-1"?>
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="list">
    <xs:complexType><xs:sequence>
      <xs:element name="n" type="xs:int" maxOccurs="unbounded"/>
    </xs:sequence></xs:complexType>
  </xs:element>
</xs:schema>"""

LAUGHS = (
    b'<!DOCTYPE l [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 10))
    + b"]><list><n>&a9;</n></list>"
)

REFUSED = {
    "empty": (b"", "document.empty"),
    "blank": (b"  \n", "document.empty"),
    "no XML": (b"{}", "xml.invalid"),
    "binary": (b"\x00\x01\x02", "xml.invalid"),
    "cut short": (b"<list><n>1</n>", "xml.invalid"),
    "invalid UTF-8": (b"<list>\xff</list>", "xml.invalid"),
    "unknown encoding": (b'<?xml version="1.0" encoding="nope"?><list/>', "xml.invalid"),
    "billion laughs": (LAUGHS, "xml.invalid"),
    "10,000 deep": (b"<n>" * 10_000 + b"</n>" * 10_000, "xml.invalid"),
    "an entity": (b'<!DOCTYPE l [<!ENTITY a "1">]><list><n>&a;</n></list>', "xml.entities"),
    "a file as an entity": (
        b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><list><n>&a;</n></list>',
        "xml.entities",
    ),
    "a file as a parameter entity": (
        b'<!DOCTYPE l [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]><list><n>1</n></list>',
        "xml.entities",
    ),
}


def check(content: bytes, schema: object = SCHEMA, **documents: str) -> Result:
    config = {"schema": schema, "documents": documents}
    return get_engine("xml_schema").check(Document(content, "a.xml", ""), config)


def test_valid_document_has_no_problems() -> None:
    assert check(b"<list><n>1</n><n>2</n></list>") == Result()
    assert check(
        '<?xml version="1.0" encoding="utf-16"?><list><n>1</n></list>'.encode("utf-16")
    ) == (Result())


def test_error_has_code_path_and_line() -> None:
    first, second = check(b"<list>\n<n>x</n>\n<m/></list>").problems

    assert (first.line, first.path) == (2, "/list/n")
    assert "'x' is not a valid value" in first.message
    assert (second.code, second.line, second.path) == ("xml.unexpected_element", 3, "/list/m")


@pytest.mark.parametrize(("content", "code"), REFUSED.values(), ids=REFUSED)
def test_invalid_document_is_refused_with_code(content: bytes, code: str) -> None:
    (problem,) = check(content).problems

    assert problem.code == code
    assert "root:" not in problem.message


def test_syntax_error_has_line_and_column() -> None:
    (problem,) = check(b"<list>\n  <n></m></list>").problems

    assert (problem.line, problem.column) == (2, 10)
    assert problem.message == "This is not XML: Opening and ending tag mismatch: n line 2 and m"


@pytest.mark.parametrize("schema", [None, "", 3, "{}", "<a/>", SCHEMA.replace("xs:int", "xs:no")])
def test_invalid_schema_raises_engine_error(schema: object) -> None:
    with pytest.raises(EngineError, match="schema"):
        check(b"<list/>", schema)


INTEGERS = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r">
<xs:complexType><xs:sequence><xs:element name="i" maxOccurs="unbounded"><xs:complexType>
<xs:attribute name="id" type="xs:int"/></xs:complexType></xs:element></xs:sequence>
</xs:complexType></xs:element></xs:schema>"""


def test_all_problems_of_large_document_are_listed() -> None:
    problems = check(b"<r>\n" + b'<i id="x"/>\n' * 6_000 + b"</r>", INTEGERS).problems

    assert len(problems) == 6_000
    assert (problems[0].path, problems[0].line) == ("/r/i[1]", 2)
    assert (problems[-1].path, problems[-1].line) == ("/r/i[6000]", 6_001)


def test_stream_with_too_many_problems_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(xml_stream, "MAX_COUNTED", 10)
    monkeypatch.setattr("resource.getrlimit", lambda _: (1_000_000, 1_000_000))
    content = b"<r>\n" + b'<i id="x"/>\n' * 100 + b"</r>"

    try:
        total, problems = xml_stream.stream_problems(compiled(XmlSchemas(INTEGERS, ())), content)
    finally:
        etree.use_global_python_log(etree.PyErrorLog())

    assert (total, len(list(problems))) == (-11, 11)


NESTED = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:n"
xmlns="urn:n" elementFormDefault="qualified"><xs:element name="r"><xs:complexType><xs:sequence>
<xs:element name="v" maxOccurs="9"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int"/>
<xs:element name="b" type="xs:int"/></xs:sequence><xs:attribute name="q" type="xs:int"/>
</xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"""


@pytest.mark.parametrize(("declaration", "prefix"), [("xmlns", ""), ("xmlns:n", "n:")])
def test_places_of_large_document_are_those_of_a_small_one(declaration: str, prefix: str) -> None:
    text = (
        f"<{prefix}r {declaration}='urn:n'>\n<{prefix}v q='z'>\n<{prefix}a>x</{prefix}a>\n<{prefix}b>1</{prefix}b>\n</{prefix}v>"
        f"<{prefix}v><{prefix}a>1</{prefix}a>\n</{prefix}v><{prefix}v><{prefix}a>1</{prefix}a><{prefix}b>\ny</{prefix}b><{prefix}c/></{prefix}v>\n</{prefix}r>"
    )
    padding = f"<!--{' ' * MAX_TREE_BYTES}-->"

    small, large = (check(each.encode(), NESTED).problems for each in (text, text + padding))

    assert len(small) == 5
    assert large == small


def test_large_document_with_few_problems_keeps_their_paths() -> None:
    content = b"<r>" + b'<i id="1"/>' * 20_000 + b'<i id="x"/>' * 3 + b"</r>"

    paths = [problem.path for problem in check(content, INTEGERS).problems]

    assert paths == ["/r/i[20001]", "/r/i[20002]", "/r/i[20003]"]


def test_large_valid_document_has_no_problems() -> None:
    assert check(b"<r>" + b'<i id="1"/>' * 20_000 + b"</r>", INTEGERS) == Result()


def test_listing_that_reaches_limit_reports_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = replace(xml_schema.ENGINE.manifest, seconds=0.01)
    monkeypatch.setattr(xml_schema, "ENGINE", replace(xml_schema.ENGINE, manifest=manifest))

    first, note = check(b"<r>" + b'<i id="x"/>' * 20_000 + b"</r>", INTEGERS).problems

    assert first.severity == "ERROR"
    assert "at least 1" in note.message


def test_attributes_of_xml_namespace_are_known_offline() -> None:
    schema = (
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:import '
        'namespace="http://www.w3.org/XML/1998/namespace" '
        'schemaLocation="http://www.w3.org/2001/xml.xsd"/><xs:element name="a"><xs:complexType>'
        '<xs:attribute ref="xml:lang"/></xs:complexType></xs:element></xs:schema>'
    )

    assert check(b'<a xml:lang="en"/>', schema) == Result()


def test_depth_error_names_limit() -> None:
    (problem,) = check(b"<n>" * 10_000 + b"</n>" * 10_000).problems

    assert problem.message == "The document cannot be read: it is nested deeper than 256 levels."


RULES_XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="a">
<xs:complexType><xs:sequence><xs:element name="b" minOccurs="0" maxOccurs="9"><xs:complexType>
<xs:attribute name="n" type="xs:int" use="required"/><xs:attribute name="v" fixed="1"/>
<xs:attribute name="c"><xs:simpleType><xs:restriction base="xs:string"><xs:pattern value="x+"/>
</xs:restriction></xs:simpleType></xs:attribute>
<xs:attribute name="e"><xs:simpleType><xs:restriction base="xs:string"><xs:enumeration value="x"/>
</xs:restriction></xs:simpleType></xs:attribute>
<xs:attribute name="l"><xs:simpleType><xs:restriction base="xs:string"><xs:maxLength value="1"/>
</xs:restriction></xs:simpleType></xs:attribute>
<xs:attribute name="r"><xs:simpleType><xs:restriction base="xs:int"><xs:maxInclusive value="1"/>
</xs:restriction></xs:simpleType></xs:attribute>
<xs:attribute name="d"><xs:simpleType><xs:restriction base="xs:decimal"><xs:totalDigits value="1"/>
</xs:restriction></xs:simpleType></xs:attribute>
</xs:complexType></xs:element></xs:sequence></xs:complexType>
<xs:unique name="u"><xs:selector xpath="b"/><xs:field xpath="@n"/></xs:unique></xs:element></xs:schema>"""
RULES_RNG = """<element name="a" xmlns="http://relaxng.org/ns/structure/1.0"
datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes"><attribute name="n">
<data type="int"/></attribute><zeroOrMore><element name="b"><empty/></element></zeroOrMore>
</element>"""
RULES_DTD = """<!ELEMENT a (b*)><!ELEMENT b EMPTY><!ATTLIST b n ID #REQUIRED e (x|y) "x">"""


@pytest.mark.parametrize(
    ("schema", "document", "code"),
    [
        (RULES_XSD, "<z/>", "xml.unknown_element"),
        (RULES_XSD, "<a><z/></a>", "xml.unexpected_element"),
        (RULES_XSD, "<a><b n='1' z='1'/></a>", "xml.unexpected_attribute"),
        (RULES_XSD, "<a><b/></a>", "xml.missing_attribute"),
        (RULES_XSD, "<a><b n='1'>text</b></a>", "xml.unexpected_content"),
        (RULES_XSD, "<a><b n='x'/></a>", "xml.value"),
        (RULES_XSD, "<a><b n='1' v='2'/></a>", "xml.fixed_value"),
        (RULES_XSD, "<a><b n='1' c='y'/></a>", "xml.pattern"),
        (RULES_XSD, "<a><b n='1' e='y'/></a>", "xml.enumeration"),
        (RULES_XSD, "<a><b n='1' l='yy'/></a>", "xml.length"),
        (RULES_XSD, "<a><b n='1' r='2'/></a>", "xml.range"),
        (RULES_XSD, "<a><b n='1' d='22'/></a>", "xml.digits"),
        (RULES_XSD, "<a><b n='1'/><b n='1'/></a>", "xml.identity"),
        (RULES_RNG, "<a n='1'><z/></a>", "xml.unexpected_element"),
        (RULES_RNG, "<a n='1' z='1'/>", "xml.unexpected_attribute"),
        (RULES_RNG, "<a n='x'/>", "xml.value"),
        (RULES_DTD, "<z/>", "xml.unknown_element"),
        (RULES_DTD, "<a><a/></a>", "xml.unexpected_element"),
        (RULES_DTD, "<a><b n='i' z='1'/></a>", "xml.unexpected_attribute"),
        (RULES_DTD, "<a><b/></a>", "xml.missing_attribute"),
        (RULES_DTD, "<a><b n='i'>text</b></a>", "xml.unexpected_content"),
        (RULES_DTD, "<a><b n='i' e='z'/></a>", "xml.value"),
        (RULES_DTD, "<a><b n='i'/><b n='i'/></a>", "xml.identity"),
    ],
)
def test_code_of_broken_rule_is_the_same_in_each_language(
    schema: str, document: str, code: str
) -> None:
    codes = {problem.code for problem in check(document.encode(), schema).problems}

    assert code in codes
    assert "xml.schema" not in codes
