"""Bytes become lines, and too many of them an end."""

import pytest

from containers.lines import LONGEST, Lines


def lines_of(*chunks: bytes, most: int = 1000) -> list[str]:
    said: list[str] = []
    lines = Lines(said.append, most)
    all(map(lines.feed, chunks))
    lines.close()
    return said


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((), []),
        ((b"a\nb\n",), ["a", "b"]),
        ((b"a", b"b\nc"), ["ab", "c"]),
        ((b"a\r\n\n",), ["a", ""]),
        ((b"\xc3", b"\xa4\n"), ["ä"]),
        ((b"\xff\n",), ["\ufffd"]),
    ],
)
def test_chunks_become_lines(chunks: tuple[bytes, ...], lines: list[str]) -> None:
    assert lines_of(*chunks) == lines


def test_what_is_too_much_is_left_out_and_that_is_said() -> None:
    assert lines_of(b"abc\ndef\n", b"ghi\n", most=5) == [
        "abc",
        "d",
        "(The log is longer than 5 bytes; the rest is left out.)",
    ]


def test_a_line_without_end_comes_in_pieces() -> None:
    pieces = lines_of(*[b"x" * 1000] * 40, most=10**6)

    assert sum(map(len, pieces)) == 40_000
    assert max(map(len, pieces)) <= LONGEST + 1000
