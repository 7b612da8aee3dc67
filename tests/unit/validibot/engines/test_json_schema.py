"""The JSON Schema engine."""

import json
from typing import Any

import pytest

from validibot.engines import Document, DocumentProblem, EngineError, Result, get_engine, sandbox
from validibot.engines.problems import MAX_MESSAGE, MAX_PROBLEMS

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "m/~": {"items": {"type": "integer"}}},
}


def check(document: Any, schema: Any = SCHEMA, **config: Any) -> Result:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    engine = get_engine("json_schema")
    return engine.check(Document(content, "a.json", ""), {"schema": schema, **config})


def test_valid_document_has_no_problems() -> None:
    assert check({"name": "x"}) == Result()


def test_error_has_keyword_pointer_and_position() -> None:
    result = check(b'{\n  "name": 3,\n  "m/~": [1, "2"]\n}')

    assert result.problems == (
        DocumentProblem('3 is not of type "string"', "ERROR", "type", "/name", 2, 11),
        DocumentProblem('"2" is not of type "integer"', "ERROR", "type", "/m~1~0/1", 3, 14),
    )


def test_schema_as_text_is_accepted() -> None:
    assert check([], json.dumps(SCHEMA)).problems[0].code == "type"


def test_default_draft_is_2020_12() -> None:
    schema = {"prefixItems": [{"type": "string"}], "items": False}

    assert [problem.code for problem in check([1, 2], schema).problems] == ["type", "falseSchema"]


def test_schema_can_name_another_draft() -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}

    assert check([1], schema).problems[0].path == "/0"


def test_formats_are_checked_on_request() -> None:
    schema = {"format": "email"}

    assert check("nobody", schema).problems == ()
    assert check("nobody", schema, formats=True).problems[0].code == "format"


def test_only_the_first_problems_are_kept() -> None:
    problems = check([1] * 10_000, {"items": {"type": "string"}}).problems

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].severity == "INFO"


def test_message_is_bounded_and_storable() -> None:
    problem = check("\0" * 100_000, {"type": "integer"}).problems[0]

    assert len(problem.message) == MAX_MESSAGE
    assert "\0" not in problem.message


def test_document_without_json_gives_problem() -> None:
    assert check(b"[" * 10_000).problems[0].code == "json.too_deep"
    assert check(b"").problems[0].code == "document.empty"


@pytest.mark.timeout(5)
def test_slow_pattern_is_stopped() -> None:
    assert check("a" * 40 + "!", {"pattern": "^(a+)+$"}).problems
    assert check("a" * 40 + "!", {"pattern": r"^(?=a)(?:(a+)+\1)+$"}).problems


@pytest.mark.parametrize(
    "uri", ["http://example.com/x", "file:///etc/passwd", "https://json-schema.org/x", "other.json"]
)
def test_references_outside_schema_are_refused(uri: str) -> None:
    with pytest.raises(EngineError, match=r"only references within the schema|not present"):
        check({}, {"$ref": uri})


@pytest.mark.parametrize(
    "schema", [None, 3, "", "{", {"type": "no"}, {"pattern": "("}, {"$ref": "#/no"}, "[" * 100_000]
)
def test_invalid_schema_raises_engine_error(schema: Any) -> None:
    with pytest.raises(EngineError, match="schema"):
        check({}, schema)


def test_recursive_reference_ends() -> None:
    schema = {"properties": {"a": {"$ref": "#"}}, "required": ["b"]}

    assert [problem.path for problem in check({"a": {"a": {}}}, schema).problems] == [
        "",
        "/a",
        "/a/a",
    ]


LIST = {"properties": {"l": {"items": {"type": "string"}}}}


def test_large_document_is_listed_with_true_count() -> None:
    problems = check({"l": [1] * 12_345}, LIST).problems

    assert len(problems) == MAX_PROBLEMS + 1
    assert (problems[0].path, problems[0].code, problems[0].line) == ("/l/0", "type", 1)
    assert problems[99].path == "/l/99"
    assert problems[-1].message == "The document has 12,345 problems; the first 100 are listed."


def test_large_document_with_few_problems_is_listed_without_note() -> None:
    problems = check({"l": ["x"] * 12_345 + [1]}, LIST).problems

    assert [problem.path for problem in problems] == ["/l/12345"]


def test_small_document_is_listed_with_true_count() -> None:
    assert "has 3,000 problems" in check({"l": [1] * 3000}, LIST).problems[-1].message


def test_listing_that_reaches_its_limit_reports_first_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 0.01)

    first, note = check({"l": [1] * 12_345}, LIST).problems

    assert first.path == "/l/0"
    assert note.message == "The document has at least 1 problems; the first 1 are listed."


def test_schema_may_refer_to_another_draft() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "http://json-schema.org/draft-07/schema#",
    }

    assert check({"type": "object"}, schema) == Result()
    assert check({"type": 3}, schema).problems
