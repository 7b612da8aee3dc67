"""The help of pages: each page that a person opens has one beside it."""

import re
from functools import cache
from pathlib import Path

import allauth

ROOT = Path(__file__).parents[2] / "validibot"
WEB = ROOT / "web" / "templates"
LIBRARY = Path(allauth.__file__).parent / "templates"
HELP = WEB / "web" / "help"
_CLOSED = "a link that is closed: the page itself says what to do"
# Pages without help, by the reason.
WITHOUT_HELP = {
    "web/error.html": "the page itself says what to do",
    "web/maintenance.html": "the page itself says when to come again",
    "web/invitation_closed.html": _CLOSED,
    "web/launch_link_closed.html": _CLOSED,
    "web/share_closed.html": _CLOSED,
    "web/waitlist_closed.html": _CLOSED,
    "web/export.html": "waits for a file, and says so",
    "api/redoc.html": "a reference",
    "api/swagger.html": "a reference",
}
_EXTENDS = re.compile(r'{% extends "([^"]+)" %}')
_TOPIC = re.compile(r'\b(?:topic|help)="(\w+)"')
_HELP = "web/components/help.html"


def _path(name: str) -> Path:
    """Return the file of a template: ours, or that of the account library."""
    places = [*(each / name for each in ROOT.glob("*/templates")), LIBRARY / name]
    return next((each for each in places if each.is_file()), LIBRARY / name)


def pages() -> list[str]:
    """Return the names of our templates that are pages: they extend another, and none extends them."""
    names = {
        str(each.relative_to(folder)): each.read_text()
        for folder in ROOT.glob("*/templates")
        for each in folder.rglob("*.html")
    }
    bases = {name: _base(text) for name, text in names.items()}
    return sorted(name for name, base in bases.items() if base and name not in bases.values())


def _base(text: str) -> str:
    """Return the template that a template extends, or an empty text."""
    found = _EXTENDS.search(text)
    return found[1] if found else ""


@cache
def has_help(name: str) -> bool:
    """Return whether a template shows help: itself, in a part, or in what it extends."""
    path = _path(name)
    text = path.read_text() if path.is_file() else ""
    # The parts of help are included with a topic only.
    if _HELP in text or _TOPIC.search(text):
        return True
    base = _base(text)
    return bool(base) and has_help(base)


def test_each_page_has_help_or_a_reason_against_it() -> None:
    without = {name for name in pages() if not has_help(name)}

    assert without == set(WITHOUT_HELP)


def test_each_topic_is_written_and_shown() -> None:
    texts = [each.read_text() for each in WEB.rglob("*.html")]
    shown = {topic for text in texts for topic in _TOPIC.findall(text)}

    assert shown == {each.stem for each in HELP.glob("*.html")}
