"""Values as text in YAML, which come back as they were."""

import pytest
from hypothesis import given, strategies as st

from validibot.engines.yaml_text import parse_yaml
from validibot.workflows.yaml_writer import write_yaml

# All texts that PostgreSQL can store.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20
)


def _read(text: str) -> object:
    (document,) = parse_yaml(text.encode())
    return document.value


@given(VALUES)
def test_written_value_is_read_as_it_was(value: object) -> None:
    assert _read(write_yaml(value)) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "1e5",
        "yes",
        "on",
        "0x1F",
        "0o17",
        "2020-01-01",
        ".inf",
        "",
        "~",
        "1_000",
        "a: b",
        "- x",
        "=",
        "<<",
    ],
)
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert _read(write_yaml({text: text})) == {text: text}


def test_long_text_is_written_as_a_block() -> None:
    assert write_yaml({"schema": "{\n  1\n}\n"}) == "schema: |\n  {\n    1\n  }\n"
