"""Reports of the engine: messages from `eplusout.err`, completion from `eplusout.end`.

The engine writes a message as it happens, and those that it only counts at the end of the file,
behind a row of asterisks and with their totals. Messages of one rule (the same sentence about
different objects) become one finding when there are more than a few, so that a rule that strikes a
thousand surfaces does not hide the others; counts are always those of the engine.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from validibot_shared.energyplus.models import LOG_TAIL_LINES
from validibot_shared.validations.envelopes import Severity, ValidationMessage

from validators.energyplus.submitted import SubmittedModel, named_object

# Twice this is read of a larger file: its head has the first messages, its tail the recurring ones.
_READ_LIMIT = 16 << 20
_LINE_LIMIT = 4000
_TEXT_LIMIT = 2000
_LINES_OF_MESSAGE = 40
_SEPARATE = 10  # messages of a rule that stay findings of their own
_KEPT = 300  # findings of a level
_RULES = 5000  # rules that are told apart

_HEADER = re.compile(r"Program Version,EnergyPlus, Version (?P<version>[\w.]+)-(?P<build>\w+)")
_MESSAGE = re.compile(
    r"\s*(?P<recurring>\*{5,}\s+)?\*\*\s*(?P<level>Warning|Severe|Fatal|~~~)\s*\*\*\s?(?P<text>.*)"
)
_NOT_GENERATED = "The following Report Variables were requested but not generated"
_MISSING_VARIABLE = re.compile(r"\s*\*{5,}\s+(?P<text>Key=.*, VarName=.*)")
_VERDICT = re.compile(
    r"EnergyPlus (?P<verdict>Completed Successfully|Terminated).*?"
    r"(?P<warnings>\d+) Warnings?; (?P<severe>\d+) Severe Errors?"
)
_LEVELS = {
    "Warning": (Severity.WARNING, "ENERGYPLUS_WARNING"),
    "Severe": (Severity.ERROR, "ENERGYPLUS_SEVERE"),
    "Fatal": (Severity.ERROR, "ENERGYPLUS_FATAL"),
}
# Messages of one rule differ in names, which are in quotes or after `=`, and in numbers.
_VARYING = re.compile(
    r"""(?<=\])\[[^\]]*\]|"[^"]*"|'[^']*'|=\s*[^,;\])]+|[-+]?\d[\d.:/]*(?:[eE][-+]?\d+)?"""
)


@dataclass(kw_only=True)
class _Entry:
    """Message with the lines that continue it."""

    level: str
    lines: list[str]
    variables: int = 0
    own_variables: int = 0

    @property
    def text(self) -> str:
        return "\n".join(self.lines)[:_TEXT_LIMIT]

    @property
    def lists_variables(self) -> bool:
        return self.lines[0].startswith(_NOT_GENERATED)

    @property
    def is_empty_list(self) -> bool:
        """Whether this lists missing variables, and all of them are our own."""
        return bool(self.own_variables) and not self.variables

    def add(self, text: str) -> None:
        if len(self.lines) < _LINES_OF_MESSAGE:
            self.lines.append(text.strip())

    def add_variable(self, text: str, own: Sequence[re.Pattern[str]]) -> None:
        if any(pattern.match(text) for pattern in own):
            self.own_variables += 1
        else:
            self.variables += 1
            self.add(text)


@dataclass(kw_only=True)
class _Rule:
    """Messages that differ only in names and numbers: the first ones, and their count."""

    level: str
    entries: list[_Entry] = field(default_factory=list)
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """Messages and completion of a run.

    `counts` are messages by level. They include messages that no finding shows, and not those that
    only the outputs that we added to the model have caused.
    """

    messages: list[ValidationMessage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    completed: bool = False
    version: str | None = None
    build: str | None = None
    tail: str | None = None


def read_report(folder: Path, submitted: SubmittedModel) -> Report:
    """Read the reports in the folder of a run.

    Messages that our own requests have caused are left out, and so are our own variables in a list
    of missing ones.
    """
    own = submitted.own_messages
    error_file = folder / "eplusout.err"
    tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
    rules: dict[tuple[str, str], _Rule] = {}
    counts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for entry in _entries(_kept_in(tail, _lines(error_file)), own):
        if any(pattern.match(entry.lines[0]) for pattern in own):
            left_out[entry.level] += 1
            continue
        counts[entry.level] += 1
        _add(rules, entry)
    verdict = _VERDICT.search(_read(folder / "eplusout.end"))
    if verdict:
        # The engine's own sums include messages that it repeats without printing them.
        counts["Warning"] = max(counts["Warning"], int(verdict["warnings"]) - left_out["Warning"])
        counts["Severe"] = max(counts["Severe"], int(verdict["severe"]) - left_out["Severe"])
    header = _HEADER.match(_read(error_file, 200))
    return Report(
        messages=[*_findings(rules.values(), submitted), *_cut(error_file)],
        counts=counts,
        completed=bool(verdict and verdict["verdict"].startswith("Completed")),
        version=header["version"] if header else None,
        build=header["build"] if header else None,
        tail="\n".join(tail) or None,
    )


def _entries(lines: Iterable[str], own: Sequence[re.Pattern[str]]) -> Iterator[_Entry]:
    """Yield the messages with the lines that continue them."""
    current: _Entry | None = None
    for line in lines:
        match = _MESSAGE.match(line)
        if match and match["level"] != "~~~":
            if current and not current.is_empty_list:
                yield current
            current = _Entry(level=match["level"], lines=[match["text"].strip()])
        elif current and match:
            current.add(match["text"])
        elif current and current.lists_variables and (match := _MISSING_VARIABLE.match(line)):
            current.add_variable(match["text"], own)
    if current and not current.is_empty_list:
        yield current


def _add(rules: dict[tuple[str, str], _Rule], entry: _Entry) -> None:
    """Count a message for its rule; keep it if it is one of the rule's first."""
    key = (entry.level, _VARYING.sub("#", entry.lines[0]))
    if key not in rules and len(rules) >= _RULES:
        key = (entry.level, "")
    rule = rules.setdefault(key, _Rule(level=entry.level))
    rule.count += 1
    if key[1] and len(rule.entries) < _SEPARATE:
        rule.entries.append(entry)


def _findings(rules: Iterable[_Rule], submitted: SubmittedModel) -> Iterator[ValidationMessage]:
    """Yield the findings of each level, at most `_KEPT`, and how many messages they leave out."""
    kept: Counter[str] = Counter()
    left_out = 0
    for rule in rules:
        texts = _texts(rule)
        room = _KEPT - kept[rule.level]
        kept[rule.level] += len(texts[:room])
        severity, code = _LEVELS[rule.level]
        for text in texts[:room]:
            yield ValidationMessage(
                severity=severity, code=code, text=text, location=submitted.locate(text)
            )
        if rule.count > _SEPARATE:
            left_out += 0 if texts[:room] else rule.count
        else:
            left_out += len(texts) - len(texts[:room])
    if left_out:
        yield ValidationMessage(
            severity=Severity.INFO,
            code="ENERGYPLUS_MORE_MESSAGES",
            text=f"{left_out} further messages are in eplusout.err.",
        )


def _texts(rule: _Rule) -> list[str]:
    if rule.count <= _SEPARATE:
        return [entry.text for entry in rule.entries]
    if not rule.entries:
        return []
    names = [name for entry in rule.entries[1:] if (name := named_object(entry.text))]
    others = f" Others are about {', '.join(dict.fromkeys(names))}." if names else ""
    return [f"{rule.entries[0].text}\nThe engine reports this {rule.count} times.{others}"]


def _cut(error_file: Path) -> Iterator[ValidationMessage]:
    size = error_file.stat().st_size if error_file.is_file() else 0
    if size > 2 * _READ_LIMIT:
        yield ValidationMessage(
            severity=Severity.WARNING,
            code="ENERGYPLUS_REPORT_CUT",
            text=(
                f"eplusout.err has {size >> 20} MB. Messages were read from its first and its last "
                f"{_READ_LIMIT >> 20} MB; the counts are the engine's."
            ),
        )


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, or those of the head and the tail of a large one."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        size = path.stat().st_size
        left = size if size <= 2 * _READ_LIMIT else _READ_LIMIT
        while left > 0 and (line := file.readline(_LINE_LIMIT)):
            left -= len(line)
            yield line.decode(errors="replace")
        if size > 2 * _READ_LIMIT:
            file.seek(size - _READ_LIMIT)
            file.readline(_LINE_LIMIT)  # the rest of a line
            while line := file.readline(_LINE_LIMIT):
                yield line.decode(errors="replace")


def _kept_in(tail: deque[str], lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        tail.append(line.rstrip("\r\n"))
        yield line


def _read(path: Path, limit: int = 4096) -> str:
    try:
        with path.open("rb") as file:
            return file.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return ""
