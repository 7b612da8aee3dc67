"""Bodies of tasks and messages as text."""

import base64

import pytest

from devenv.console.shell import ago, readable_body
from devenv.console.storage_pages import pretty


@pytest.mark.parametrize(
    ("body", "size", "text"),
    [
        ("Grüße".encode(), 0, "Grüße"),
        (b"\x89PNG\xff", 0, "89 50 4e 47 ff"),
        (b"x" * 20_001, 0, "x" * 20_000 + "\n…"),
        (b"a" * 19_999 + "ü".encode(), 0, "a" * 19_999 + "\n…"),
        (b"begins", 30, "begins\n…"),
        (b"", 0, ""),
    ],
)
def test_body_is_text_or_hexadecimal_and_cut(body: bytes, size: int, text: str) -> None:
    assert readable_body(base64.b64encode(body).decode(), size=size) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":1e999,"a":[]}', '{\n  "a": 1e999,\n  "a": []\n}'),
        ('[1.50, {"b": "\\u00fc, [x]"}]', '[\n  1.50,\n  {\n    "b": "\\u00fc, [x]"\n  }\n]'),
        ("{no json", "{no json"),
        ("-0.0", "-0.0"),
    ],
)
def test_json_is_indented_with_its_values_as_written(text: str, shown: str) -> None:
    assert pretty(text) == shown


def test_last_second_of_the_apis_is_never() -> None:
    assert ">never<" in ago(253402300800.0, 0)
