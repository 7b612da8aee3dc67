"""Splitting a log into lines, and its limit."""

import pytest

from containers.container import MAX_LINE_BYTES, LogLines


def lines_of(*chunks: bytes, most: int = 1000) -> list[str]:
    said: list[str] = []
    lines = LogLines(said.append, most)
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
def test_chunks_are_split_into_lines(chunks: tuple[bytes, ...], lines: list[str]) -> None:
    assert lines_of(*chunks) == lines


def test_log_beyond_limit_is_cut_with_notice() -> None:
    assert lines_of(b"abc\ndef\n", b"ghi\n", most=5) == [
        "abc",
        "d",
        "(The log is longer than 5 bytes; the rest is omitted.)",
    ]


def test_long_line_is_reported_in_pieces() -> None:
    pieces = lines_of(*[b"x" * 1000] * 40, most=10**6)

    assert sum(map(len, pieces)) == 40_000
    assert max(map(len, pieces)) <= MAX_LINE_BYTES + 1000


def test_lines_of_two_streams_are_kept_apart() -> None:
    said: list[str] = []
    errors: list[str] = []
    lines = LogLines(said.append, 15, max_line=4, on_error_line=errors.append)
    for stream, data in ((1, b"ab"), (2, b"12345"), (1, b"c\nd"), (2, b"6\n")):
        lines.feed(data, stream)
    lines.close()

    assert said == ["abc", "d"]
    assert errors == ["1234", "56"]
