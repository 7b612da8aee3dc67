"""Schemas of several documents, bundled schemas, RELAX NG and DTD in the XML Schema engine."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from validibot.engines import Document, EngineError, Result, get_engine, xml_schema
from validibot.engines.xml_text import in_words
from validibot.workflows.checks import check_config


def xsd(body: str, target: str = "", **prefixes: str) -> str:
    names = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in prefixes.items())
    own = f' targetNamespace="{target}" xmlns="{target}"' if target else ""
    return (
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"{own}{names}'
        f' elementFormDefault="qualified">{body}</xs:schema>'
    )


def check(content: str, schema: str, documents: Mapping[str, str] | None = None) -> Result:
    config = {"schema": schema, "documents": dict(documents or {})}
    return get_engine("xml_schema").check(Document(content.encode(), "a.xml", ""), config)


def save(schema: str, documents: Mapping[str, str] | None = None) -> None:
    config = {"schema": schema, "documents": dict(documents or {})}
    check_config(config, validator="XML Schema", engine="xml_schema", validation_type="")


SIZE = xsd(
    '<xs:simpleType name="size"><xs:restriction base="xs:int"><xs:maxInclusive value="9"/>'
    "</xs:restriction></xs:simpleType>"
)
ROOT = '<xs:element name="r" type="size"/>'


@pytest.mark.parametrize(
    "location", ["size.xsd", "./size.xsd", "https://example.com/2026/size.xsd", "x/../size.xsd"]
)
def test_included_document_is_found_by_name(location: str) -> None:
    schema = xsd(f'<xs:include schemaLocation="{location}"/>{ROOT}')

    assert check("<r>9</r>", schema, {"size.xsd": SIZE}) == Result()
    assert check("<r>10</r>", schema, {"size.xsd": SIZE}).problems


def test_included_document_may_include_others() -> None:
    schema = xsd(f'<xs:include schemaLocation="sub/a.xsd"/>{ROOT}')
    documents = {"sub/a.xsd": xsd('<xs:include schemaLocation="b.xsd"/>'), "sub/b.xsd": SIZE}

    assert check("<r>10</r>", schema, documents).problems


def test_redefined_type_replaces_that_of_its_document() -> None:
    schema = xsd(
        '<xs:redefine schemaLocation="size.xsd"><xs:simpleType name="size"><xs:restriction base="size">'
        f'<xs:maxInclusive value="5"/></xs:restriction></xs:simpleType></xs:redefine>{ROOT}'
    )

    assert check("<r>5</r>", schema, {"size.xsd": SIZE}) == Result()
    assert check("<r>6</r>", schema, {"size.xsd": SIZE}).problems


def test_import_without_location_is_found_by_namespace() -> None:
    schema = xsd('<xs:import namespace="urn:b"/><xs:element name="r" type="b:t"/>', b="urn:b")
    other = xsd('<xs:simpleType name="t"><xs:restriction base="xs:int"/></xs:simpleType>', "urn:b")

    assert check("<r>x</r>", schema, {"any.xsd": other}).problems


def test_two_documents_of_one_namespace_are_both_imported() -> None:
    schema = xsd(
        '<xs:import namespace="urn:b" schemaLocation="one.xsd"/>'
        '<xs:import namespace="urn:b" schemaLocation="two.xsd"/><xs:element name="r"><xs:complexType>'
        '<xs:attribute name="a" type="b:one"/><xs:attribute name="b" type="b:two"/></xs:complexType>'
        "</xs:element>",
        b="urn:b",
    )
    kind = '<xs:simpleType name="{}"><xs:restriction base="xs:int"/></xs:simpleType>'
    documents = {f"{name}.xsd": xsd(kind.format(name), "urn:b") for name in ("one", "two")}

    assert len(check('<r a="x" b="y"/>', schema, documents).problems) == 2


def test_documents_may_import_each_other() -> None:
    schema = xsd(
        '<xs:import namespace="urn:b" schemaLocation="b.xsd"/><xs:element name="r" type="b:t"/>'
        '<xs:simpleType name="n"><xs:restriction base="xs:int"/></xs:simpleType>',
        "urn:a",
        b="urn:b",
    )
    other = xsd(
        '<xs:import namespace="urn:a" schemaLocation="a.xsd"/><xs:complexType name="t">'
        '<xs:attribute name="n" type="a:n"/></xs:complexType>',
        "urn:b",
        a="urn:a",
    )

    assert check('<r xmlns="urn:a" n="1"/>', schema, {"b.xsd": other}) == Result()
    assert check('<r xmlns="urn:a" n="x"/>', schema, {"b.xsd": other}).problems


def test_missing_documents_are_told_by_name() -> None:
    schema = xsd(
        '<xs:include schemaLocation="file:///etc/passwd"/><xs:redefine schemaLocation="b.xsd"/>'
        '<xs:import namespace="urn:c" schemaLocation="https://example.com/c.xsd"/>'
        '<xs:include schemaLocation="size.xsd"/>'
    )
    with pytest.raises(EngineError) as caught:
        check("<r/>", schema, {"size.xsd": SIZE})

    assert str(caught.value) == (
        "The schema refers to 'file:///etc/passwd', 'b.xsd', 'https://example.com/c.xsd', which is"
        " not given. Add it to `documents` by that name; the documents of the step are: 'size.xsd'."
    )


def test_fault_of_document_names_it() -> None:
    schema = xsd(f'<xs:include schemaLocation="size.xsd"/>{ROOT}')

    with pytest.raises(EngineError, match=r"The document 'size\.xsd' is not XML"):
        check("<r/>", schema, {"size.xsd": "<xs:schema"})
    with pytest.raises(EngineError, match=r"invalid in the document 'size\.xsd': .*line 1"):
        check("<r/>", schema, {"size.xsd": SIZE.replace("xs:int", "xs:no")})


BUNDLED = {
    "http://www.w3.org/XML/1998/namespace": ("attribute", "lang"),
    "http://www.w3.org/1999/xlink": ("attribute", "href"),
    "http://www.w3.org/2000/09/xmldsig#": ("element", "Signature"),
    "http://www.w3.org/2009/xmldsig11#": ("element", "ECKeyValue"),
    "http://www.w3.org/2001/04/xmlenc#": ("element", "EncryptedData"),
    "http://www.w3.org/2009/xmlenc11#": ("element", "DerivedKey"),
    "http://schemas.xmlsoap.org/soap/envelope/": ("element", "Envelope"),
    "http://schemas.xmlsoap.org/soap/encoding/": ("element", "string"),
    "http://schemas.xmlsoap.org/wsdl/": ("element", "definitions"),
    "http://schemas.xmlsoap.org/wsdl/soap/": ("element", "address"),
}


@pytest.mark.parametrize("namespace", BUNDLED)
@pytest.mark.parametrize("location", ["", ' schemaLocation="https://www.w3.org/other.xsd"'])
def test_schemas_of_w3c_are_known_offline(namespace: str, location: str) -> None:
    kind, name = BUNDLED[namespace]
    content = f'<xs:{kind} ref="x:{name}"/>'
    inner = f"<xs:sequence>{content}</xs:sequence>" if kind == "element" else content
    prefix = "xml" if namespace.startswith("http://www.w3.org/XML") else "x"
    schema = xsd(
        f'<xs:import namespace="{namespace}"{location}/><xs:element name="r"><xs:complexType>'
        f"{inner}</xs:complexType></xs:element>".replace("x:", f"{prefix}:").replace("xsxml", "xs"),
        **({} if prefix == "xml" else {"x": namespace}),
    ).replace(f"<{prefix}s:", "<xs:")

    save(schema)


RNG = (
    '<grammar xmlns="http://relaxng.org/ns/structure/1.0" '
    'datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">'
    '<start><element name="r"><oneOrMore><element name="i"><attribute name="id"><data type="int"/>'
    "</attribute></element></oneOrMore></element></start></grammar>"
)
DTD = "<!ELEMENT r (i+)><!ELEMENT i EMPTY><!ATTLIST i id NMTOKEN #REQUIRED>"
LANGUAGES = {"relax ng": RNG, "dtd": DTD}


@pytest.mark.parametrize("schema", LANGUAGES.values(), ids=LANGUAGES)
def test_other_languages_decide_and_place_problems(schema: str) -> None:
    first = check('<r>\n<i id="1"/>\n<i/>\n</r>', schema).problems[0]

    assert check('<r><i id="1"/></r>', schema) == Result()
    assert (first.line, first.path) == (3, "/r/i[2]")
    assert first.message in {
        "An attribute of the element i is missing or invalid",
        "The element i lacks the attribute id",
    }


@pytest.mark.parametrize("schema", LANGUAGES.values(), ids=LANGUAGES)
def test_other_languages_list_large_documents(schema: str) -> None:
    valid = '<i id="1"/>' * 20_000
    problems = check(f"<r>{valid}{'<i/>' * 50_000}</r>", schema).problems

    assert check(f"<r>{valid}</r>", schema) == Result()
    assert len(problems) > 100
    assert problems[0].path == "/r/i[20001]"
    assert problems[-1].message.startswith("The document has at least")


def test_relax_ng_includes_documents_of_the_step() -> None:
    schema = (
        '<grammar xmlns="http://relaxng.org/ns/structure/1.0"><include href="base.rng">'
        '<define name="content"><element name="b"><externalRef href="text.rng"/></element></define>'
        "</include></grammar>"
    )
    base = (
        '<grammar xmlns="http://relaxng.org/ns/structure/1.0"><start><element name="r">'
        '<ref name="content"/></element></start><define name="content"><empty/></define></grammar>'
    )
    text = '<text xmlns="http://relaxng.org/ns/structure/1.0"/>'

    assert check("<r><b>x</b></r>", schema, {"base.rng": base, "text.rng": text}) == Result()
    assert check("<r/>", schema, {"base.rng": base, "text.rng": text}).problems
    with pytest.raises(ValidationError, match=r"refers to 'text\.rng'"):
        save(schema, {"base.rng": base})
    with pytest.raises(ValidationError, match=r"'base\.rng' includes itself"):
        save(schema, {"base.rng": schema, "text.rng": text})


def test_documents_that_double_are_refused() -> None:
    names = [f"d{number}.rng" for number in range(40)]
    twice = (
        '<choice xmlns="http://relaxng.org/ns/structure/1.0"><externalRef href="{0}"/>'
        '<externalRef href="{0}"/></choice>'
    )
    documents = {name: twice.format(after) for name, after in itertools.pairwise(names)}
    documents[names[-1]] = '<text xmlns="http://relaxng.org/ns/structure/1.0"/>'

    with pytest.raises(ValidationError, match="are too large together"):
        save(documents[names[0]], documents)


def test_dtd_includes_documents_of_the_step() -> None:
    schema = '<!ENTITY % more SYSTEM "https://example.com/more.mod">%more;<!ELEMENT r (i)>'
    more = '<!ENTITY % none "EMPTY"><!ELEMENT i %none;><!ATTLIST i id CDATA "a &#38; b">'

    assert check("<r><i/></r>", schema, {"more.mod": more}) == Result()
    assert check("<r><i>x</i></r>", schema, {"more.mod": more}).problems
    with pytest.raises(ValidationError, match=r"refers to 'https://example\.com/more\.mod'"):
        save(schema)


@pytest.mark.parametrize(
    "entity",
    [
        '<!ENTITY % x SYSTEM "file:///etc/passwd">%x;',
        '<!ENTITY % x PUBLIC "p" "https://example.com/x">%x;',
        # A declaration that appears only when another entity expands.
        """<!ENTITY % y "<!ENTITY &#37; x SYSTEM 'file:///etc/passwd'>">%y;%x;""",
    ],
)
def test_dtd_reads_no_other_files(entity: str) -> None:
    with pytest.raises(ValidationError, match="which is not given"):
        save(f"{entity}<!ELEMENT r ANY>", {"a": DTD})


def test_fault_of_dtd_is_its_own() -> None:
    twice = "<!ELEMENT r (a)><!ATTLIST r i CDATA #IMPLIED><!ATTLIST r i CDATA #IMPLIED>"

    save(twice)
    with pytest.raises(ValidationError, match=r"invalid: (?!Attribute).*\(line 1\)"):
        save("<!ELEMENT r (a,,b)>")


def test_entity_bomb_in_dtd_is_refused() -> None:
    entities = "".join(f'<!ENTITY % a{n} "{f"%a{n - 1};" * 10}">' for n in range(1, 12))

    with pytest.raises(ValidationError, match="The schema is invalid"):
        save(f'<!ENTITY % a0 "          ">{entities}<!ELEMENT r ANY>%a11;')


def test_compact_syntax_is_refused_with_advice() -> None:
    with pytest.raises(ValidationError, match="compact syntax of RELAX NG, which is not read"):
        save("start = element r { text }")


@pytest.mark.parametrize("schema", ["<a/>", '<a xmlns="urn:x"/>'])
def test_document_without_schema_is_refused(schema: str) -> None:
    with pytest.raises(ValidationError, match="its root element is 'a', which is neither"):
        save(schema)


def limit(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    manifest = replace(xml_schema.ENGINE.manifest, seconds=seconds)
    monkeypatch.setattr(xml_schema, "ENGINE", replace(xml_schema.ENGINE, manifest=manifest))


def test_schema_that_needs_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_schema, "MAX_COMPILE_SECONDS", 1)
    optional = "".join(f'<xs:element name="a{n}" minOccurs="0" maxOccurs="9"/>' for n in range(600))

    with pytest.raises(ValidationError, match="The schema needs more than 1 s or 768 MB to read"):
        save(
            xsd(
                '<xs:element name="r"><xs:complexType><xs:choice minOccurs="0" maxOccurs="unbounded">'
                f"{optional}</xs:choice></xs:complexType></xs:element>"
            )
        )


def test_pattern_that_needs_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 1)
    schema = xsd(
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="i" maxOccurs="unbounded">'
        '<xs:simpleType><xs:restriction base="xs:string"><xs:pattern value="(a+)+b|(a|aa)+c"/></xs:restriction>'
        "</xs:simpleType></xs:element></xs:sequence></xs:complexType></xs:element>"
    )
    first, *_ = check(f"<r>{f'<i>{"a" * 60}</i>' * 50}</r>", schema).problems

    assert first.code == "document.too_expensive"
    assert check(f"<r>{'<i>aab</i>' * 50}</r>", schema) == Result()


@pytest.mark.parametrize(
    "message",
    [
        "Internal error: xmlRelaxNGValidateState: nothing",
        "internal error: Huge input lookup, use XML_PARSE_HUGE",
        "xmlParseEntityRef: no name",
        "EntityRef: expecting ';'",
        "Did not expect element j there",
        "Element '{http://www.w3.org/2001/XMLSchema}element': The attribute 'x' is not allowed.",
    ],
)
def test_message_has_no_internals(message: str) -> None:
    words: Any = in_words(message)

    assert not any(each in words for each in ("xml", "XML_", "nternal", "EntityRef", "Did not"))
