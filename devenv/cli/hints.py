"""Commands in messages, in the words that work in a folder: `make up`, or `devenv up`.

Messages name the short commands of a Makefile. Most projects have none that starts devenv.
"""

import re
from pathlib import Path

_COMMAND = re.compile(
    r"\bmake (up|down|status|logs|run|reset|doctor|start|stop|restart)\b"
    r"((?: [A-Z]+=(?:'[^']*'|[\w./:-]*\w))*)"
)
_OPTION = re.compile(r" ([A-Z]+)=('[^']*'|\S+)")
_WORDS = {"MODE": "--mode ", "RUNTIME": "--runtime ", "JOBS": "--jobs ", "S": "", "CMD": "-- "}
_SWITCHES = {"YES": "--yes", "DETACH": "--detach", "JSON": "--json"}


def has_make(folder: Path) -> bool:
    """Return whether a folder's Makefile has the short commands."""
    try:
        return "devenv" in (folder / "Makefile").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def without_make(text: str) -> str:
    """Return a message with `devenv` in place of the commands of a Makefile."""
    return _COMMAND.sub(lambda found: f"devenv {found[1]}{_options(found[2])}", text)


def _options(text: str) -> str:
    words = (
        _SWITCHES.get(name) or f"{_WORDS.get(name, '')}{value.strip(chr(39))}"
        for name, value in _OPTION.findall(text)
    )
    return "".join(f" {word}" for word in words)
