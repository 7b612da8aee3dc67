"""Lines of a submitted document around a place."""

import pytest

from tests.factories import SubmissionFactory
from validibot.web.documents import MAX_LINE, lines_around

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("document", "line", "numbers", "marked"),
    [
        (b"a\nb\r\nc\n", 2, [1, 2, 3], "b"),
        ("\ufeffä\nb".encode(), 1, [1, 2], "ä"),
        ("ä\nb".encode("utf-16"), 2, [1, 2], "b"),
        (b"\xe4\nb", 1, [1, 2], "\ufffd"),
        (b"x\n" * 100, 99, list(range(87, 101)), "x"),
        (b"a\nb", 0, [1, 2], None),
        (b"", 5, [], None),
    ],
)
def test_lines_around_place_are_numbered_and_marked(
    document: bytes, line: int, numbers: list[int], marked: str | None
) -> None:
    lines = lines_around(SubmissionFactory.build(inline=document), line)

    assert [each.number for each in lines] == numbers
    assert next((each.text for each in lines if each.is_marked), None) == marked


def test_line_is_cut_around_its_column() -> None:
    document = b"a" * 5000 + b"here" + b"b" * 5000

    [line] = lines_around(SubmissionFactory.build(inline=document), 1, 5001)

    assert "here" in line.text
    assert len(line.text) <= MAX_LINE + 2
