"""Macros of an IDF: commands that begin with `##`, which the program EP-Macro replaces.

Included files are put in here, so EP-Macro needs to open none (`engine.py` keeps it from doing so).
"""

import re

from validators.energyplus.files import FurtherFiles, leads_outside
from validators.energyplus.text import SIZE_LIMIT, ModelUnreadable, read_text

_COMMAND = re.compile(r"^[ \t]*##[a-z]", re.IGNORECASE | re.MULTILINE)
_FILE_COMMAND = re.compile(
    r"^[ \t]*##(include|includesilent|fileprefix)\b[ \t]*([^\n]*)$", re.IGNORECASE
)
_DEPTH_LIMIT = 10
_COST_OF_FILE = 10_000
"""Characters that a file counts for besides its own: many small ones take long, too."""


def has_macros(text: str) -> bool:
    """Return whether the text has commands of EP-Macro."""
    return _COMMAND.search(text) is not None


def with_includes(text: str, files: FurtherFiles) -> str:
    """Return the text with the included files in the place of `##include`. Raises ModelUnreadable."""
    return "\n".join(_lines(text, files, depth=0, budget=[SIZE_LIMIT]))


def _lines(text: str, files: FurtherFiles, *, depth: int, budget: list[int]) -> list[str]:
    budget[0] -= len(text) + _COST_OF_FILE
    if depth > _DEPTH_LIMIT or budget[0] < 0:
        raise ModelUnreadable(
            f"Files are included more than {_DEPTH_LIMIT} levels deep, or have more than "
            f"{SIZE_LIMIT} characters together.",
            code="ENERGYPLUS_INCLUDE_LIMIT",
        )
    lines: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        found = _FILE_COMMAND.match(line)
        if not found:
            lines.append(line)
        elif name := found[2].split("!")[0].strip():
            lines += _included(found[1].lower(), name, files, depth, budget, number)
    return lines


def _included(
    command: str, name: str, files: FurtherFiles, depth: int, budget: list[int], number: int
) -> list[str]:
    line = number if depth == 0 else None
    if leads_outside(name):
        raise ModelUnreadable(
            f"##{command} {name}: this is a path outside of the model's folder. Send the file with "
            "the model and name it without a folder.",
            code="ENERGYPLUS_PATH_REFUSED",
            line=line,
        )
    if command == "fileprefix":
        return [""]  # a folder inside the model's own; files are found by their leaf names
    source = files.find(name)
    if source is None:
        raise ModelUnreadable(
            f"##{command}: {files.missing(name)}", code="ENERGYPLUS_FILE_MISSING", line=line
        )
    text, _ = read_text(source.read_bytes())
    return _lines(text, files, depth=depth + 1, budget=budget)
