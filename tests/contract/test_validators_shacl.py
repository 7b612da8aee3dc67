"""SHACL: findings with their places, formats, and shapes and graphs that are hostile."""

import re
from pathlib import Path
from typing import Any

import pytest
from validibot_shared.shacl import SHACLOutputEnvelope
from validibot_shared.validations.envelopes import ValidationStatus

from validators.sdk.main import main
from validators.sdk.manifest import read_manifest
from validators.sdk.testing import write_envelope
from validators.shacl.validate import VALIDATOR

MANIFEST = read_manifest(Path("validators/shacl"))
PREFIXES = """@prefix ex: <urn:ex#> . @prefix sh: <http://www.w3.org/ns/shacl#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix owl: <http://www.w3.org/2002/07/owl#> .
"""
ROOM = PREFIXES + 'ex:a a ex:Room ; ex:area "x" .'
SHAPE = PREFIXES + "ex:S a sh:NodeShape ; sh:targetClass ex:Room ; "
AREA = SHAPE + "sh:property [ sh:path ex:area ; sh:datatype xsd:decimal ] ."
QUERY = 'sh:sparql [ sh:message "m" ; sh:select "SELECT $this ?value WHERE { %s }" ] .'


def check(
    folder: Path, shapes: str, data: str, *, suffix: str = ".ttl", **inputs: Any
) -> SHACLOutputEnvelope:
    path = folder / f"graph{suffix}"
    path.write_text(data)
    envelope = write_envelope(folder, MANIFEST, path, inputs={"shapes_text": shapes, **inputs})
    main(VALIDATOR, [envelope.as_uri()])
    stored = (folder / "output.json").read_bytes()
    assert b"Traceback" not in stored
    return SHACLOutputEnvelope.model_validate_json(stored)


def test_findings_have_severity_focus_path_and_value(tmp_path: Path) -> None:
    shapes = SHAPE + (
        "sh:property [ sh:path ( ex:feeds [ sh:inversePath ex:in ] ) ; sh:minCount 1 ;"
        ' sh:severity sh:Warning ; sh:message "no sensor" ] ;'
        " sh:property [ sh:path ex:area ; sh:datatype xsd:decimal ] ."
    )

    output = check(tmp_path, shapes, ROOM)

    found = [(m.severity.value, m.code, m.location and m.location.path) for m in output.messages]
    assert found == [
        ("ERROR", "SHACL_Datatype", "ex:a ex:area"),
        ("WARNING", "SHACL_MinCount", "ex:a ex:feeds/^ex:in"),
    ]
    assert "'x'" in output.messages[0].text
    assert output.messages[1].text == "no sensor"
    assert output.status is ValidationStatus.FAILED_VALIDATION
    assert [each.name for each in output.artifacts] == ["report.ttl"]


RDF_XML = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:ex="urn:ex#">
<ex:Room rdf:about="urn:ex#a"><ex:area>x</ex:area></ex:Room></rdf:RDF>"""


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".jsonld", '{"@id": "urn:ex#a", "@type": "urn:ex#Room", "urn:ex#area": "x"}'),
        (".rdf", RDF_XML),
    ],
)
def test_format_follows_file_extension(tmp_path: Path, suffix: str, data: str) -> None:
    output = check(tmp_path, AREA, data, suffix=suffix)

    assert [each.code for each in output.messages] == ["SHACL_Datatype"]


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".ttl", "no turtle"),
        (".rdf", "<a"),
        (".jsonld", '{"@context": "http://127.0.0.1:9/context", "@id": "urn:a"}'),
        (".jsonld", '{"@context": "file:///etc/passwd", "@id": "urn:a"}'),
        (".jsonld", "[" * 100_000),
    ],
)
def test_bad_graph_is_a_finding(tmp_path: Path, suffix: str, data: str) -> None:
    output = check(tmp_path, AREA, data, suffix=suffix)

    assert output.status is ValidationStatus.FAILED_VALIDATION
    assert [each.code for each in output.messages] == ["SHACL_NOT_RDF"]
    assert "root:" not in output.messages[0].text


def test_too_many_triples_are_refused(tmp_path: Path) -> None:
    output = check(tmp_path, AREA, ROOM, max_data_triples=1)

    assert "2 triples; at most 1" in output.messages[0].text


@pytest.mark.parametrize(
    ("shapes", "is_allowed", "code"),
    [
        ("no turtle", False, "SHACL_SHAPES_INVALID"),
        (SHAPE + "sh:property [ sh:minCount 1 ] .", False, "SHACL_SHAPES_INVALID"),
        (SHAPE + QUERY % "$this ex:area ?value", False, "SHACL_SPARQL_REFUSED"),
        (SHAPE + 'sh:js [ sh:jsFunctionName "isRoom" ] .', True, "SHACL_JS_REFUSED"),
        (
            SHAPE + QUERY % "SERVICE <http://127.0.0.1:9/> { $this ?p ?value }",
            True,
            "SHACL_SHAPES_INVALID",
        ),
    ],
)
def test_unusable_shapes_are_the_fault_of_the_step(
    tmp_path: Path, shapes: str, is_allowed: bool, code: str
) -> None:
    switches: dict[str, Any] = {
        "advanced_shacl": is_allowed,
        "enable_advanced_features": is_allowed,
    }

    output = check(tmp_path, shapes, ROOM, **switches)

    assert output.status is ValidationStatus.FAILED_RUNTIME
    assert [each.code for each in output.messages] == [code]


def test_sparql_constraint_runs_where_it_is_allowed(tmp_path: Path) -> None:
    shapes = SHAPE + QUERY % "$this <urn:ex#area> ?value"

    output = check(tmp_path, shapes, ROOM, advanced_shacl=True, enable_advanced_features=True)

    assert [each.code for each in output.messages] == ["SHACL_SPARQL"]


def test_imports_are_not_followed(tmp_path: Path) -> None:
    shapes = AREA + " <urn:o> a owl:Ontology ; owl:imports <http://127.0.0.1:9/x> ."

    output = check(tmp_path, shapes, ROOM)

    assert [each.code for each in output.messages] == ["SHACL_Datatype"]


def test_long_check_is_stopped(tmp_path: Path) -> None:
    shapes = SHAPE + 'sh:property [ sh:path ex:area ; sh:pattern "^(a+)+$" ] .'

    output = check(
        tmp_path, shapes, ROOM.replace('"x"', f'"{"a" * 60}!"'), pyshacl_timeout_seconds=3
    )

    assert output.messages[0].code == "SHACL_TIMEOUT"


def test_docs_list_every_code_of_shacl() -> None:
    source = Path("validators/shacl/validate.py").read_text()
    codes = set(re.findall(r'code="(SHACL_[A-Z_]+)"', source))

    page = Path("docs/validators.md").read_text()

    assert {code for code in codes if f"`{code}`" not in page} == set()
