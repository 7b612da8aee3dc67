"""Files beside a model: what its objects and macros name, found among the submission's further files.

EnergyPlus looks for a relative name beside the model, so that is where the files are put. Names that
lead elsewhere are refused: the engine would read files of the machine that it runs on. Commands that
begin with `##` are replaced by the program EP-Macro; included files are put in here, so that it needs
to open none (`engine.py` keeps it from doing so).
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from validibot_shared.validations.envelopes import Severity, ValidationMessage

from validators.energyplus.checks import location_of
from validators.energyplus.model import Model, ModelField, ModelObject, read_model
from validators.energyplus.text import SIZE_LIMIT, ModelUnreadable, read_text
from validators.sdk.validation import error

# Every field of EnergyPlus's data dictionary (25.2) that takes the name of a file which it reads,
# but for the objects that are refused.
_FILE_FIELDS = {
    "Schedule:File": ModelField(position=2, key="file_name"),
    "Schedule:File:Shading": ModelField(position=0, key="file_name"),
    "Construction:WindowDataFile": ModelField(position=1, key="file_name"),
    "Coil:DX:ASHRAE205:Performance": ModelField(position=1, key="representation_file_name"),
    "Chiller:Electric:ASHRAE205": ModelField(position=1, key="representation_file_name"),
    "Table:IndependentVariable": ModelField(position=4, key="external_file_name"),
    "Table:Lookup": ModelField(position=4, key="external_file_name"),
}
_OUTSIDE = re.compile(r"[/\\~]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|$)|\w+://")


class FurtherFiles:
    """Further files of a submission, found by their leaf names without regard to case."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = {name.lower(): path for name, path in files.items()}
        self._names = sorted(files)
        self._used: set[str] = set()

    def find(self, name: str) -> Path | None:
        """Return the file that a relative name means."""
        leaf = re.split(r"[/\\]", name)[-1].lower()
        self._used.add(leaf)
        return self._files.get(leaf)

    def find_statistics(self) -> Path | None:
        """Return the statistics of the weather; of several STAT files the first by name."""
        names = [name for name in self._names if name.lower().endswith(".stat")]
        return self.find(names[0]) if names else None

    def missing(self, name: str) -> str:
        """Return what to do about a file that was not sent."""
        sent = f"it came with: {', '.join(self._names)}" if self._names else "none came with it"
        return f"{name!r} is not among the further files of the submission ({sent}). Send it with the model."

    def unused(self) -> Iterator[ValidationMessage]:
        """Yield a message for each file that the model does not name."""
        for name in self._names:
            if name.lower() not in self._used:
                yield ValidationMessage(
                    severity=Severity.INFO,
                    code="ENERGYPLUS_FILE_UNUSED",
                    text=f"The further file {name!r} was not used: no object of the model names it.",
                )


def leads_outside(name: str) -> bool:
    """Return whether the name of a file is a path that leaves the model's folder, or a URL."""
    return _OUTSIDE.match(name) is not None


def place_files(model: Model, files: FurtherFiles, *, folder: Path) -> list[ValidationMessage]:
    """Put the files that a model names into its folder; return an error for each that cannot be."""
    return [
        problem
        for kind, field in _FILE_FIELDS.items()
        for item in model.of_kind(kind)
        for problem in _place(item, field, files, folder)
    ]


def place_weather(weather: Path, statistics: Path | None, *, folder: Path) -> Path:
    """Return the weather file, in `folder` with its statistics if there are any.

    Wind turbines and water mains use them. The engine looks for a file of the weather's name that
    ends in `.stat`.
    """
    if statistics is None:
        return weather
    folder.mkdir()
    shutil.copyfile(statistics, folder / f"{weather.stem}.stat")
    return Path(shutil.copyfile(weather, folder / weather.name))


def _place(
    item: ModelObject, field: ModelField, files: FurtherFiles, folder: Path
) -> Iterator[ValidationMessage]:
    name = item.get(field)
    if not name:
        return
    who = f"{item.kind} {item.values[0]!r}, field {field.key}"
    if leads_outside(name):
        text = (
            f"{who}: {name!r} is a path outside of the model's folder. Send the file with the model "
            "and name it without a folder."
        )
        yield error(text, code="ENERGYPLUS_PATH_REFUSED", location=location_of(item))
    elif source := files.find(name):
        target = folder.joinpath(PurePosixPath(name.replace("\\", "/")))
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    else:
        yield error(
            f"{who}: {files.missing(name)}",
            code="ENERGYPLUS_FILE_MISSING",
            location=location_of(item),
        )


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


def add_submitted_lines(model: Model, text: str) -> None:
    """Give the objects of a text without its macros their lines in the submitted text.

    An object has a line if it is the only one of its class and name there.
    """
    places: dict[tuple[str, ...], list[int | None]] = defaultdict(list)
    plain = "\n".join("" if _COMMAND.match(line) else line for line in text.split("\n"))
    for item in read_model(plain, epjson=False).objects:
        places[_identity(item)].append(item.line)
    model.objects = [
        replace(item, line=found[0] if len(found) == 1 else None)
        for item in model.objects
        for found in (places.get(_identity(item), []),)
    ]


def _identity(item: ModelObject) -> tuple[str, ...]:
    return tuple(text.lower() for text in (item.kind, *item.values[:1]))


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
