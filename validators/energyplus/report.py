"""Reports of the engine: messages from `eplusout.err`, completion from `eplusout.end`."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from validibot_shared.energyplus.models import LOG_TAIL_LINES
from validibot_shared.validations.envelopes import Severity, ValidationMessage

_READ_LIMIT = 16 << 20
_TEXT_LIMIT = 2000
_KEPT = 200

_HEADER = re.compile(r"Program Version,EnergyPlus, Version (?P<version>[\w.]+)-(?P<build>\w+)")
_MESSAGE = re.compile(r"\s*\*\*\s*(?P<level>Warning|Severe|Fatal|~~~)\s*\*\*\s?(?P<text>.*)")
_VERDICT = re.compile(
    r"EnergyPlus (?P<verdict>Completed Successfully|Terminated).*?"
    r"(?P<warnings>\d+) Warnings?; (?P<severe>\d+) Severe Errors?"
)
_SEVERITY = {"Warning": Severity.WARNING, "Severe": Severity.ERROR, "Fatal": Severity.ERROR}


@dataclass(kw_only=True)
class _Entry:
    """Message with the lines that continue it."""

    level: str
    lines: list[str]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Messages and completion of a run."""

    messages: list[ValidationMessage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    completed: bool = False
    version: str | None = None
    build: str | None = None
    tail: str | None = None


def read_report(folder: Path) -> Report:
    """Read the reports in the folder of a run."""
    lines = _read(folder / "eplusout.err").splitlines()
    entries = list(_entries(lines))
    counts = Counter(entry.level for entry in entries)
    verdict = _VERDICT.search(_read(folder / "eplusout.end"))
    if verdict:
        # The engine's own sums include messages that it repeats without printing them.
        counts["Warning"] = max(counts["Warning"], int(verdict["warnings"]))
        counts["Severe"] = max(counts["Severe"], int(verdict["severe"]))
    header = _HEADER.match(lines[0]) if lines else None
    return Report(
        messages=list(_messages(entries)),
        counts=counts,
        completed=bool(verdict and verdict["verdict"].startswith("Completed")),
        version=header["version"] if header else None,
        build=header["build"] if header else None,
        tail="\n".join(lines[-LOG_TAIL_LINES:]) or None,
    )


def _entries(lines: Iterable[str]) -> Iterator[_Entry]:
    """Yield the messages with the lines that continue them."""
    current: _Entry | None = None
    for line in lines:
        match = _MESSAGE.match(line)
        if match and match["level"] == "~~~" and current:
            current.lines.append(match["text"].strip())
        elif match and match["level"] != "~~~":
            if current:
                yield current
            current = _Entry(level=match["level"], lines=[match["text"].strip()])
    if current:
        yield current


def _messages(entries: Iterable[_Entry]) -> Iterator[ValidationMessage]:
    kept: Counter[str] = Counter()
    for entry in entries:
        kept[entry.level] += 1
        if kept[entry.level] <= _KEPT:
            yield ValidationMessage(
                severity=_SEVERITY[entry.level],
                code=f"ENERGYPLUS_{entry.level.upper()}",
                text="\n".join(entry.lines)[:_TEXT_LIMIT],
            )
    if dropped := sum(max(count - _KEPT, 0) for count in kept.values()):
        yield ValidationMessage(
            severity=Severity.INFO,
            code="ENERGYPLUS_MORE_MESSAGES",
            text=f"{dropped} further messages are in eplusout.err.",
        )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_READ_LIMIT).decode(errors="replace")
    except FileNotFoundError:
        return ""
