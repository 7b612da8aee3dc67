"""Names, docstrings and pages are in plain English: no new place breaks a rule."""

import json
from collections import Counter
from pathlib import Path

from tests.house import language

LEFT = Path(__file__).with_name("language_left.json")


def test_language_has_no_new_violations() -> None:
    """The file of what is left only ever shrinks: `python -m tests.house.language PACKAGE`."""
    places = language.check()
    left: dict[str, int] = json.loads(LEFT.read_text())
    counts = Counter(place.package for place in places)
    excess = {name for name, count in counts.items() if count > left.get(name, 0)}

    assert [str(place) for place in places if place.package in excess] == []
