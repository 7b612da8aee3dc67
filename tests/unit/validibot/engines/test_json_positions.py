"""Positions of values in JSON texts."""

import json
from typing import Any

from hypothesis import given, strategies as st

from validibot.engines.json_text import Positions

TEXT = """{
  "a": [1, {"b\\n": true}],
  "c/~": "x", "a": {"d": [ ]}
}"""


def test_position_of_value_is_found_by_path() -> None:
    positions = Positions(TEXT)

    assert positions.of([]) == (1, 1)
    assert positions.of(["c/~"]) == (3, 10)


def test_position_of_duplicate_key_is_the_last() -> None:
    assert Positions(TEXT).of(["a", "d"]) == (3, 26)


def test_position_of_missing_value_is_nearest_parent() -> None:
    assert Positions(TEXT).of(["c/~", 3]) == (3, 10)
    assert Positions(TEXT).of(["nowhere", "b"]) == (1, 1)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_json, st.sampled_from([None, 1]))
def test_position_of_every_value_is_right(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    positions = Positions(text)
    lines = text.split("\n")

    for path, item in _walk(value, []):
        line, column = positions.of(path)
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        assert json.JSONDecoder().raw_decode(rest)[0] == item


def _walk(value: Any, path: list[str | int]) -> Any:
    yield path, value
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _walk(item, [*path, key])
