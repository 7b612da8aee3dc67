"""Names, docstrings and pages are in plain English."""

from tests.house import language


def test_repository_has_no_language_violations() -> None:
    """`python -m tests.house.language PATH` prints the places."""
    assert [str(place) for place in language.check()] == []
