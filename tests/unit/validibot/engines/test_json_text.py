"""Reading of JSON documents from outside."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from validibot.engines import BadDocument, DocumentProblem
from validibot.engines.json_text import MAX_BYTES, depth_of, parse_json

REFUSED = {
    "empty": (b"", "document.empty"),
    "blank": (b" \n\t", "document.empty"),
    "only a byte order mark": (b"\xef\xbb\xbf", "document.empty"),
    "no JSON": (b"hello", "json.invalid"),
    "cut short": (b'{"a": [1, 2', "json.invalid"),
    "trailing comma": (b"[1,]", "json.invalid"),
    "two values": (b"{} {}", "json.invalid"),
    "unterminated string of brackets": (b'"' + b"[" * 10, "json.invalid"),
    "control character": (b'"a\x01b"', "json.invalid"),
    "not a number": (b"[NaN]", "json.invalid"),
    "infinity": (b"[-Infinity]", "json.invalid"),
    "number beyond a double": (b"[1e999]", "json.invalid"),
    "250 digits with an exponent of two digits": (b"1" * 250 + b"e99", "json.invalid"),
    "long number beyond a double": (b"9" * 400 + b".0", "json.invalid"),
    "number of too many digits": (b"9" * 5000, "json.invalid"),
    "half of a surrogate pair": (b'["\\ud800"]', "json.invalid"),
    "half a pair as a key": (b'{"\\uDFFF": 1}', "json.invalid"),
    "invalid UTF-8": (b'{"a": "\xff"}', "document.encoding"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "document.encoding"),
    "10,000 open brackets": (b"[" * 10_000, "json.too_deep"),
    "10,000 nested lists": (b"[" * 10_000 + b"]" * 10_000, "json.too_deep"),
    "10,000 nested objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "json.too_deep"),
    "too large": (b" " * (MAX_BYTES + 1), "document.too_large"),
}


@pytest.mark.parametrize(("content", "code"), REFUSED.values(), ids=REFUSED)
def test_invalid_document_is_refused_with_code(content: bytes, code: str) -> None:
    with pytest.raises(BadDocument) as refusal:
        parse_json(content)

    assert refusal.value.problem.code == code
    assert refusal.value.problem.severity == "ERROR"


def test_syntax_error_has_line_and_column() -> None:
    with pytest.raises(BadDocument) as refusal:
        parse_json(b'{"a": 1,\n "b": ?}')

    assert (refusal.value.problem.line, refusal.value.problem.column) == (2, 7)


def test_invalid_utf8_error_names_byte_offset() -> None:
    with pytest.raises(BadDocument, match=r"byte 0xff at offset 8") as refusal:
        parse_json('"é\n\t'.encode() + b"abc\xff")

    assert (refusal.value.problem.line, refusal.value.problem.column) == (2, 5)


def test_invalid_utf8_offset_counts_byte_order_mark() -> None:
    with pytest.raises(BadDocument, match=r"offset 4"):
        parse_json(b"\xef\xbb\xbf[\xff]")


def test_byte_order_mark_is_accepted() -> None:
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]


def refused(content: bytes) -> DocumentProblem:
    with pytest.raises(BadDocument) as refusal:
        parse_json(content)
    return refusal.value.problem


def test_duplicate_key_is_refused_at_its_second_place() -> None:
    problem = refused(b'{"a": 1,\n "b": 2, "a": 3}')

    assert problem.message == 'The key "a" appears more than once in one object.'
    assert (problem.code, problem.line, problem.column) == ("json.duplicate_key", 2, 10)


def test_same_key_in_two_objects_is_accepted() -> None:
    assert parse_json(b'[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]


def test_long_number_error_names_limit() -> None:
    problem = refused(b'{"a":\n ' + b"9" * 5000 + b"}")

    assert problem.message == "A number has 5,000 digits; at most 4,300 can be read."
    assert (problem.line, problem.column) == (2, 2)


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    text = b"[" * 1000 + b'\\"' + b"{" * 1000

    assert parse_json(b'{"a": "' + text + b'"}') == {"a": text.decode().replace("\\", "")}


def test_wide_document_is_accepted() -> None:
    assert parse_json(b"[" + b"[[]]," * 5000 + b"[]]") == [*[[[]]] * 5000, []]


def test_surrogate_pair_is_one_character() -> None:
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


_NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,5}|1{190,320})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,4})?", fullmatch=True
)


@given(_NUMBERS)
def test_number_is_refused_exactly_if_it_is_no_finite_double(text: str) -> None:
    expected: int | float = json.loads(text)

    if isinstance(expected, float) and math.isinf(expected):
        with pytest.raises(BadDocument):
            parse_json(text.encode())
    else:
        assert parse_json(text.encode()) == expected


def _depth(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return int(isinstance(value, dict | list)) + max(map(_depth, items), default=0)


_VALUES = st.recursive(
    st.integers() | st.text(alphabet='[]{}"\\,a', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text('[]{}"\\', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(_VALUES)
def test_depth_equals_that_of_parsed_value(value: Any) -> None:
    assert depth_of(json.dumps(value).encode()) == _depth(value)
