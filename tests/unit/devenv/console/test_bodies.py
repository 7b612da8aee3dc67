"""Bodies of tasks and messages as text."""

import base64

import pytest

from devenv.console.shell import readable_body


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
