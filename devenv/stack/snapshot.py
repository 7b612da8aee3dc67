"""Snapshots of the data of a stopped stack: copies of what `up` keeps in its folder, by name.

A snapshot is a folder `snapshots/NAME` with `snapshot.json` and `data/`. A load copies the data
first and then swaps it in by renames; `finish` completes a swap that was interrupted. The data that
a load replaces becomes the snapshot BEFORE_LOAD, so that a load can be taken back.
"""

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from devenv.stack.problems import StackError, UsageProblem

FORMAT = 1
BEFORE_LOAD = "before-load"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
# Entries that belong to the present run of the stack, not to its data.
_NOT_DATA = frozenset(
    {
        "lock",
        "state.json",
        "state.new",
        "logs",
        "up.log",
        "bridge",
        "snapshots",
        "loading",
        "loaded",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Description of a snapshot.

    `history` has, by step, the files whose effect the data holds: the migrations of a database.
    `entries` are the names in its data folder, `size` their bytes.
    """

    name: str
    created: str
    mode: str = ""
    format: int = FORMAT
    history: Mapping[str, Sequence[str]] = field(default_factory=dict)
    entries: Sequence[str] = ()
    size: int = 0


class SnapshotStore:
    """Snapshots of the stack whose data is in the folder `state`.

    The stack must be stopped, or paused, during `save` and `load`.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._folder = state / "snapshots"

    def names(self) -> list[str]:
        return sorted(path.parent.name for path in self._folder.glob("*/snapshot.json"))

    def get(self, name: str) -> Snapshot:
        """Return the description of a snapshot. Raises StackError if it cannot be used."""
        path = self._folder / name / "snapshot.json"
        if not _NAME.fullmatch(name) or not path.exists():
            known = ", ".join(self.names()) or "none"
            raise StackError(
                f"There is no snapshot {name!r:.70}; there are: {known}.",
                hint="devenv snapshot list",
            )
        try:
            data = json.loads(path.read_text())
            number = data["format"]
            names = {one.name for one in fields(Snapshot)}
            found = Snapshot(**{key: value for key, value in data.items() if key in names})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StackError(
                f"{path} is not what `snapshot save` writes.", hint=f"devenv snapshot delete {name}"
            ) from error
        if number != FORMAT:
            raise StackError(
                f"The snapshot {name} has the format {number!r:.20}; this version reads {FORMAT}.",
                hint="use the version of this repository that made it",
            )
        return found

    def check_name(self, name: str, *, replace: bool) -> None:
        """Raise StackError if no snapshot can be saved by this name."""
        if not _NAME.fullmatch(name):
            raise UsageProblem(
                f"{name!r:.70} is no name of a snapshot: lower-case letters, digits, `.`, `_` and "
                "`-`, at most 63.",
                hint="devenv snapshot save monday",
            )
        if name in self.names() and not replace:
            raise StackError(
                f"The snapshot {name} exists already.",
                hint=f"devenv snapshot save --replace {name}",
            )

    def save(
        self,
        name: str,
        *,
        mode: str,
        history: Mapping[str, Sequence[str]],
        replace: bool = False,
    ) -> Snapshot:
        """Copy the present data. Raises StackError."""
        self.check_name(name, replace=replace)
        if not self._entries():
            raise StackError("There is no data to save.", hint="make up")
        with self._draft(name) as draft:
            _copy([self._state / one for one in self._entries()], draft / "data")
            return self._describe(
                draft, Snapshot(name=name, created=utc_now(), mode=mode, history=history)
            )

    def load(self, name: str, *, keep: Snapshot | None) -> None:
        """Replace the present data by a snapshot's. Raises StackError.

        `keep` describes the data that goes; it becomes a snapshot. Without it, it is deleted.
        """
        found = self.get(name)
        loading, loaded = self._state / "loading", self._state / "loaded"
        for left in (loading, loaded):
            shutil.rmtree(left, ignore_errors=True)
        try:
            _copy([self._folder / name / "data" / one for one in found.entries], loading / "data")
        except OSError as error:
            shutil.rmtree(loading, ignore_errors=True)
            raise _not_copied(error) from error
        plan = {"entries": list(found.entries), "keep": keep and asdict(keep)}
        (loading / "plan.json").write_text(json.dumps(plan))
        loading.rename(loaded)
        self.finish()

    def finish(self) -> bool:
        """Complete a load that was interrupted after its copy; return whether there was one.

        Each entry is moved away before its successor is moved in, so that repeating it is safe.
        """
        loaded = self._state / "loaded"
        if not loaded.exists():
            return False
        plan = json.loads((loaded / "plan.json").read_text())
        replaced = loaded / "replaced"
        replaced.mkdir(exist_ok=True)
        for name in set(self._entries()) - set(plan["entries"]):
            (self._state / name).rename(replaced / name)
        for name in plan["entries"]:
            if (loaded / "data" / name).exists():
                if (self._state / name).exists():
                    (self._state / name).rename(replaced / name)
                (loaded / "data" / name).rename(self._state / name)
        if plan["keep"] and any(replaced.iterdir()):
            with self._draft(BEFORE_LOAD) as draft:
                replaced.rename(draft / "data")
                self._describe(draft, Snapshot(**plan["keep"]))
        shutil.rmtree(loaded)
        return True

    def delete(self, name: str) -> None:
        """Delete a snapshot, whatever its format. Raises StackError if there is none."""
        if name not in self.names():
            self.get(name)
        shutil.rmtree(self._folder / name)

    def _entries(self) -> list[str]:
        if not self._state.exists():
            return []
        return sorted(one.name for one in self._state.iterdir() if one.name not in _NOT_DATA)

    @contextmanager
    def _draft(self, name: str) -> Iterator[Path]:
        """Yield a folder that becomes the snapshot if nothing fails. Raises StackError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        draft = self._folder / f".{name}.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        try:
            yield draft
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise _not_copied(error) from error
        shutil.rmtree(self._folder / name, ignore_errors=True)
        draft.rename(self._folder / name)

    def _describe(self, draft: Path, snapshot: Snapshot) -> Snapshot:
        data = draft / "data"
        described = asdict(snapshot) | {
            "entries": sorted(one.name for one in data.iterdir()),
            "size": sum(path.lstat().st_size for path in data.rglob("*") if path.is_file()),
        }
        (draft / "snapshot.json").write_text(json.dumps(described, indent=2) + "\n")
        return Snapshot(**described)


def _copy(paths: Sequence[Path], target: Path) -> None:
    """Copy files and folders with their modes; PostgreSQL refuses a folder that others may read."""
    target.mkdir(mode=0o700, parents=True)
    for path in paths:
        if path.is_dir():
            shutil.copytree(path, target / path.name, symlinks=True)
        else:
            shutil.copy2(path, target / path.name)


def _not_copied(error: Exception) -> StackError:
    """shutil.Error lists every file that failed; the first tells enough."""
    reason = error.args[0] if isinstance(error, shutil.Error) else error
    return StackError(f"The data could not be copied: {reason!s:.200}", hint="make doctor")


def utc_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
