"""YAML documents: types of YAML 1.2, bounds, positions, and JSON Schema."""

from typing import Any

import pytest

from validibot.engines import BadDocument, Document, DocumentProblem, Result, get_engine
from validibot.engines.yaml_schema import YamlConfig
from validibot.engines.yaml_text import MAX_BYTES, MAX_DOCUMENTS, parse_yaml
from validibot.workflows.checks import check_config

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP_ALIASES = "a0: &a0 [1]\n" + "".join(
    f"a{number}: &a{number} {'[' * 40}*a{number - 1}{']' * 40}\n" for number in range(1, 5)
)
SCHEMA = {
    "type": "object",
    "required": ["services"],
    "properties": {
        "services": {
            "type": "array",
            "items": {"type": "object", "properties": {"port": {"type": "integer"}}},
        }
    },
}


def check(text: str, **config: Any) -> Result:
    return get_engine("yaml_schema").check(Document(text.encode(), "a.yaml", ""), config)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-02", "2026-01-02"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("~", None),
        ("True", True),
        ("'true'", "true"),
        ("!!int '12'", 12),
        ("!!str 12", "12"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("8080: web", {"8080": "web"}),
    ],
)
def test_scalars_have_the_types_of_yaml_1_2(text: str, value: object) -> None:
    assert parse_yaml(text.encode())[0].value == value


@pytest.mark.parametrize(
    ("text", "code", "place", "message"),
    [
        (BOMB, "yaml.too_large", (7, 8), "aliases are written out"),
        (DEEP_ALIASES, "yaml.too_deep", (5, 49), "deeper than 128"),
        ("[" * 20_000, "yaml.too_deep", (1, 129), "deeper than 128"),
        ("- \n" * 1_500_000, "yaml.too_large", (1048576, 2), "Split it"),
        ("---\n" * (MAX_DOCUMENTS + 1), "yaml.too_many_documents", (1001, 1), "more than 1000"),
        ("x" * (MAX_BYTES + 1), "document.too_large", (None, None), "8388609 bytes"),
        ("a: 1\nb:\n  c: 2\n  c: 3\n", "yaml.duplicate_key", (4, 3), "on line 3"),
        ("a: 1\n\tb: 2", "yaml.invalid", (2, 1), "tab character"),
        ("a: 'x", "yaml.invalid", (1, 6), "unexpected end of stream"),
        ("a: b: c", "yaml.invalid", (1, 5), "mapping values are not allowed"),
        ("a: *b", "yaml.invalid", (1, 4), "the alias *b has no anchor"),
        ("&a [*a]", "yaml.invalid", (1, 5), "the alias *a has no anchor"),
        ("? [a]\n: b", "yaml.invalid", (1, 3), "a key must be a text"),
        ("é: \x00", "yaml.invalid", (1, 4), "the character 0x0 is not allowed"),
        ("a: .nan", "yaml.invalid", (1, 4), "JSON has no number .nan"),
        ("a: 1e999", "yaml.invalid", (1, 4), "beyond the range"),
        ("a: !!python/object:os.system x", "yaml.invalid", (1, 4), "python/object:os.system"),
        ("# a comment\n", "document.empty", (None, None), "empty"),
    ],
)
def test_unreadable_document_has_place_and_reason(
    text: str, code: str, place: tuple[int | None, int | None], message: str
) -> None:
    with pytest.raises(BadDocument) as caught:
        parse_yaml(text.encode())

    problem = caught.value.problem
    assert (problem.code, (problem.line, problem.column)) == (code, place)
    assert message in problem.message


def test_schema_problem_has_its_place_in_the_yaml_text() -> None:
    result = check("services:\n- port: 80\n- name: x\n  port: eighty\n", schema=SCHEMA)

    (problem,) = result.problems
    assert (problem.line, problem.column) == (4, 9)
    assert problem.path == "/services/1/port"
    assert result.outputs == {"document_count": 1}


def test_each_document_is_checked_and_named() -> None:
    result = check("services: []\n---\nx: 1\n", schema=SCHEMA)

    (problem,) = result.problems
    assert problem.message.startswith("Document 2: ")
    assert problem.line == 3


def test_problems_of_many_documents_are_listed_together() -> None:
    result = check("x: 1\n---\n" * 149 + "x: 1", schema=SCHEMA)

    assert len(result.problems) == 150


def test_second_document_is_refused_where_one_is_allowed() -> None:
    (problem,) = check("a: 1\n---\nb: 2\n", several=False).problems

    assert problem == DocumentProblem(
        "The file has 2 documents; the step allows one.", code="yaml.several", line=3, column=1
    )


def test_invalid_schema_is_refused_when_the_step_is_saved() -> None:
    with pytest.raises(ValueError, match="schema is invalid at"):
        YamlConfig.model_validate({"schema": {"type": 1}})
    check_config({}, validator="YAML", engine="yaml_schema", validation_type="YAML_SCHEMA")


def test_payload_of_yaml_file_is_its_value() -> None:
    assert Document(b"a: 1", "a.YML", "").payload == {"a": 1}
    assert Document(b"a: 1\n---\nb: 2", "a.yaml", "").payload == [{"a": 1}, {"b": 2}]
    assert Document(b"a: b: c", "a.yaml", "").payload_or_none() is None
