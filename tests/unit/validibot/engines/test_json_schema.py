"""The JSON Schema engine."""

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from validibot.engines import (
    Document,
    DocumentProblem,
    EngineError,
    Result,
    get_engine,
    json_schema,
)
from validibot.engines.json_documents import read_schemas
from validibot.engines.problems import MAX_MESSAGE, MAX_PROBLEMS, listed

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


def test_yaml_with_aliases_is_checked_by_its_written_out_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("validibot.engines.json_schema.MAX_COMMAS_HERE", 5)
    children: list[bytes] = []

    def child(_work: object, _header: object, body: bytes, _manifest: object) -> list[object]:
        children.append(body)
        return []

    monkeypatch.setattr("validibot.engines.json_schema.run_in_child", child)
    content = b"a: &a [1, 2]\nb: [*a, *a, *a, *a]"

    get_engine("json_schema").check(
        Document(content, "a.yaml", ""), {"schema": {"required": ["c"]}}
    )

    assert [json.loads(body)["b"] for body in children] == [[[1, 2]] * 4]


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


def test_message_is_bounded_and_storable() -> None:
    problem = check("\0" * 100_000, {"type": "integer"}).problems[0]

    assert len(problem.message) <= MAX_MESSAGE
    assert problem.message.endswith('… is not of type "integer"'.lstrip("…"))


def test_document_without_json_gives_problem() -> None:
    assert check(b"[" * 10_000).problems[0].code == "json.too_deep"
    assert check(b"").problems[0].code == "document.empty"


def test_slow_pattern_is_stopped() -> None:
    assert check("a" * 40 + "!", {"pattern": "^(a+)+$"}).problems
    assert check("a" * 40 + "!", {"pattern": r"^(?=a)(?:(a+)+\1)+$"}).problems


@pytest.mark.parametrize(
    "uri", ["http://example.com/x", "file:///etc/passwd", "https://json-schema.org/x", "other.json"]
)
def test_references_outside_schema_are_refused(uri: str) -> None:
    with pytest.raises(EngineError, match=f"refers to '{uri}', which is not given"):
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


def test_all_problems_of_large_document_are_listed() -> None:
    content = json.dumps({"l": [1] * 5_100}, indent=0).encode()

    problems = json_schema.check(Document(content, "a.json", ""), {"schema": LIST}).problems

    assert len(problems) == 5_100
    assert (problems[0].path, problems[0].code, problems[0].line) == ("/l/0", "type", 3)
    assert (problems[-1].path, problems[-1].line) == ("/l/5099", 5_102)


def test_problems_beyond_limit_are_counted() -> None:
    problem = DocumentProblem("wrong")

    kept = listed([problem] * (MAX_PROBLEMS + 5), total=MAX_PROBLEMS + 5)

    assert kept[:-1] == (problem,) * MAX_PROBLEMS
    assert kept[-1].message == "The document has 100,005 problems; the first 100,000 are listed."


def test_large_document_with_few_problems_is_listed_without_note() -> None:
    problems = check({"l": ["x"] * 12_345 + [1]}, LIST).problems

    assert [problem.path for problem in problems] == ["/l/12345"]


def test_listing_that_reaches_its_limit_reports_first_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = replace(json_schema.ENGINE.manifest, seconds=0.01)
    monkeypatch.setattr(json_schema, "ENGINE", replace(json_schema.ENGINE, manifest=manifest))

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


TREE = {
    "$id": "https://example.com/tree",
    "$dynamicAnchor": "node",
    "properties": {"data": True, "children": {"items": {"$dynamicRef": "#node"}}},
}
STRICT = {
    "$id": "https://example.com/strict",
    "$dynamicAnchor": "node",
    "$ref": "tree",
    "unevaluatedProperties": False,
}


def test_reference_finds_documents_by_name() -> None:
    documents = {
        "types.json": {"$defs": {"n": {"$ref": "sub/x.json"}}},
        "sub/x.json": {"$ref": "y.json"},
        "sub/y.json": json.dumps({"type": "integer"}),
    }

    assert check(1, {"$ref": "types.json#/$defs/n"}, documents=documents) == Result()
    assert check("1", {"$ref": "types.json#/$defs/n"}, documents=documents).problems


@pytest.mark.parametrize("name", ["tree", "tree.json"])
def test_dynamic_reference_reaches_other_documents(name: str) -> None:
    assert check({"children": [{"data": 1}]}, STRICT, documents={name: TREE}) == Result()
    assert check({"children": [{"daat": 1}]}, STRICT, documents={name: TREE}).problems


def test_large_document_is_listed_with_documents_of_the_step() -> None:
    schema = {"$id": "https://example.com/main", "items": {"$ref": "item.json"}}
    problems = check(["x"] * 6_000, schema, documents={"item.json": {"type": "integer"}}).problems

    assert (problems[0].path, problems[0].code) == ("/0", "type")
    assert len(problems) == 6_000


def test_missing_document_is_told_by_name() -> None:
    with pytest.raises(EngineError, match=r"refers to 'b\.json', which is not given.*'a\.json'"):
        check(1, {"$ref": "a.json"}, documents={"a.json": {"$ref": "b.json"}})


@pytest.mark.parametrize("text", ["{", {"type": "no such type"}])
def test_invalid_document_is_told_by_name(text: Any) -> None:
    with pytest.raises(EngineError, match=r"The document 'a\.json'"):
        check(1, True, documents={"a.json": text})


@pytest.mark.parametrize("keyword", ["$schema", "$ref"])
def test_unsupported_draft_is_refused_by_name(keyword: str) -> None:
    with pytest.raises(EngineError, match=r"drafts 4 to 2020-12 are supported"):
        check(1, {keyword: "http://json-schema.org/draft-03/schema#"})


def test_unknown_metaschema_is_asked_for_by_name() -> None:
    schema = {"$schema": "https://example.com/meta", "minimum": 2}
    meta = '{"$schema": "https://json-schema.org/draft/2020-12/schema"}'

    with pytest.raises(EngineError, match=r"'https://example\.com/meta', which is not given"):
        check(1, schema)
    assert check(1, schema, documents={"https://example.com/meta": meta}).problems


@pytest.mark.parametrize("draft", ["draft-04", "draft-06", "draft-07"])
def test_metaschemas_of_earlier_drafts_are_known(draft: str) -> None:
    schema = {"$ref": f"http://json-schema.org/{draft}/schema#"}

    assert check({"type": "object"}, schema) == Result()
    assert check({"type": 3}, schema).problems


def branch(kind: str, **properties: Any) -> dict[str, Any]:
    return {"properties": {"kind": {"const": kind}, **properties}, "required": ["kind"]}


SHAPES = {
    "oneOf": [
        {"type": "array"},
        branch("circle", radius={"type": "number"}),
        branch("square", side={"anyOf": [{"type": "number"}, {"enum": ["small", "large"]}]}),
    ]
}


def test_failed_alternatives_tell_reasons_nearest_first() -> None:
    (problem,) = check({"kind": "square", "side": "huge"}, SHAPES).problems

    assert problem.message == (
        "The value does not match any of the 3 branches of oneOf. Nearest branch 3: The value does"
        " not match any of the 2 branches of anyOf. Nearest branch 2: "
        '"huge" is not one of "small" or "large"; branch 1: "huge" is not of type "number"'
        ' (at /side); branch 2: "circle" was expected (at /kind); branch 1: '
        '{"kind":"square","side":"huge"} is not of type "array"'
    )


def test_reasons_of_large_document_are_the_same() -> None:
    content = [{"kind": "square", "side": "huge"}, *[{"kind": "circle", "radius": 1}] * 6_000]
    (problem,) = check(content, {"items": SHAPES}).problems

    assert "Nearest branch 3: The value does not match any of the 2 branches" in problem.message


def test_reasons_of_many_deep_alternatives_are_bounded() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(20):
        schema = {"anyOf": [schema, *[{"type": "string"}] * 10]}
    (problem,) = check([], schema).problems

    assert len(problem.message) <= MAX_MESSAGE
    assert "other branches" in problem.message


def doubling(levels: int) -> dict[str, Any]:
    names = [f"d{number}" for number in range(levels)]
    definitions: dict[str, Any] = {"d0": {"type": "integer"}}
    for before, name in itertools.pairwise(names):
        used = {"$ref": f"#/$defs/{before}"}
        definitions[name] = {"oneOf": [used, {"allOf": [used, {"type": "string"}]}]}
    return {"$defs": definitions, "$ref": f"#/$defs/{names[-1]}"}


def test_schema_that_multiplies_work_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = replace(json_schema.ENGINE.manifest, seconds=1)
    monkeypatch.setattr(json_schema, "ENGINE", replace(json_schema.ENGINE, manifest=manifest))
    (problem,) = check(1, doubling(60)).problems

    assert problem.code == "document.too_expensive"
    assert "more than 1 s or 768 MB, the limits of JSON Schema" in problem.message


TWO_WAYS = {
    "allOf": [{"properties": {"a": {"$ref": "#"}}}] * 2,
    "properties": {"b": False},
}


def test_recursive_schema_with_two_ways_is_checked_in_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nested(depth: int, innermost: Any) -> Any:
        for _ in range(depth):
            innermost = {"a": innermost}
        return innermost

    manifest = replace(json_schema.ENGINE.manifest, seconds=1)
    monkeypatch.setattr(json_schema, "ENGINE", replace(json_schema.ENGINE, manifest=manifest))

    assert check(nested(18, 1), TWO_WAYS) == Result()
    assert check(nested(18, {"b": 1}), TWO_WAYS).problems


@pytest.mark.parametrize(
    "schema", [{"$ref": "#"}, {"$defs": {"a": {"allOf": [{"$ref": "#"}]}}, "$ref": "#/$defs/a"}]
)
def test_cycle_of_references_ends(schema: Any) -> None:
    assert check(1, schema) == Result()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
_TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]


def _keywords(inner: Any) -> Any:
    lists = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(_TYPES),
            "enum": st.lists(_VALUES, min_size=1, max_size=3),
            "minimum": st.integers(-2, 2),
            "minLength": st.integers(0, 2),
            "required": st.lists(st.sampled_from("abc"), unique=True, max_size=2),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "additionalProperties": inner,
            "prefixItems": lists,
            "items": inner,
            "contains": inner,
            "uniqueItems": st.booleans(),
            "oneOf": lists,
            "anyOf": lists,
            "not": inner,
            "if": inner,
            "then": inner,
            "$ref": st.just("other.json"),
        },
    )


_SCHEMAS = st.recursive(st.booleans() | _keywords(st.booleans()), _keywords, max_leaves=5)


@settings(max_examples=60, deadline=None)
@given(schema=_SCHEMAS, other=_keywords(st.booleans()), value=_VALUES)
def test_verdict_equals_that_of_reference_implementation(
    schema: Any, other: Any, value: Any
) -> None:
    """The lister of large documents is the reference; both must agree about every document."""
    other.pop("$ref", None)
    documents = {"other.json": other}
    valid = check(value, schema, documents=documents) == Result()

    schemas = read_schemas({"schema": schema, "documents": documents})
    expected = json_schema._lister(schemas, None).is_valid(value)

    assert valid == expected
