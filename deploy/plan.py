"""The difference between a stage and the cloud, and the steps that remove it.

A plan is one comparison: the desired settings of each resource against those that the cloud has.
`apply` makes the same comparison for each resource again just before it acts, because earlier steps
may have changed what later ones see.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.errors import DeployError, explained
from deploy.resource import Resource, Settings, shown_variable

_SIGNS = {"create": "+", "update": "~", "delete": "-"}


@dataclass(frozen=True, slots=True)
class Change:
    """A difference of one resource: `before` is None if it is missing, `after` if it must go."""

    resource: Resource
    before: Settings | None
    after: Settings | None

    @property
    def action(self) -> str:
        """Return `create`, `update` or `delete`."""
        if self.after is None:
            return "delete"
        return "create" if self.before is None else "update"

    def lines(self) -> Iterator[str]:
        """Yield the change as text: the resource, then each setting that differs."""
        yield f"{_SIGNS[self.action]} {self.resource.address}"
        for path, old, new in differences(self.before or {}, self.after or {}):
            if self.before is None:
                yield f"    {path}: {_shown(path, new)}"
            elif self.after is not None:
                yield f"    {path}: {_shown(path, old)} -> {_shown(path, new)}"
        if self.action == "update" and (note := self.resource.note(self.before or {})):
            yield f"    {note}"

    def gcloud(self) -> list[str]:
        """Return the equivalent commands."""
        return self.resource.gcloud(self.action, self.before or {})

    def carry_out(self) -> None:
        """Call Google. Raises DeployError."""
        with explained(self.resource.address):
            if self.after is None:
                self.resource.delete()
            elif self.before is None:
                self.resource.create()
            else:
                self.resource.update(self.before)


def differences(
    before: Settings, after: Settings, path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, old value, new value) for every setting that differs; empty ones are none."""
    for key in sorted({*before, *after}):
        old, new = before.get(key) or None, after.get(key) or None
        if isinstance(old, dict) or isinstance(new, dict):
            yield from differences(old or {}, new or {}, f"{path}{key}.")
        elif old != new:
            yield f"{path}{key}", old, new


def change_of(resource: Resource) -> Change | None:
    """Return what has to change about a desired resource, None if nothing. Raises DeployError."""
    with explained(resource.address):
        before, after = resource.read(), resource.desired()
    if before == after:
        return None
    _check_owner(resource, before or {}, after)
    return Change(resource, before, after)


def _check_owner(resource: Resource, before: Settings, after: Settings) -> None:
    """Raise DeployError for a resource that another stage has, or somebody else."""
    wanted = after.get("labels", {}).get("stage")
    owner = before.get("labels", {}).get("stage")
    if before and wanted != owner:
        has = f"belongs to the stage {owner!r}" if owner else "was not made by `deploy`"
        raise DeployError(
            f"{resource.address} exists and {has}. Delete it, give it the label `stage={wanted}`, or "
            "rename the stage file; then run `plan`."
        )


def plan(resources: Iterable[Resource], strays: Iterable[Resource]) -> list[Change]:
    """Return all changes: those of the desired resources, then the deletion of the strays."""
    changes = [change for resource in resources if (change := change_of(resource))]
    return [*changes, *deletions(strays)]


def deletions(resources: Iterable[Resource]) -> list[Change]:
    """Return the deletion of each resource that exists."""
    found = []
    for resource in resources:
        with explained(resource.address):
            before = resource.read()
        if before is not None:
            found.append(Change(resource, before, None))
    return found


def apply(
    resources: Iterable[Resource],
    strays: Callable[[], Iterable[Resource]],
    *,
    tell: Callable[[Change], None],
    may_delete: Callable[[Sequence[Change]], bool],
) -> int:
    """Remove every difference, in order; return the number of changes.

    `tell` hears of each change before it is carried out. Strays are deleted last, and only if
    `may_delete` says so. Raises DeployError; what was done until then stays, and the next call
    continues there.
    """
    count = 0
    for resource in resources:
        if change := change_of(resource):
            tell(change)
            change.carry_out()
            count += 1
    gone = deletions(strays())
    return count + (delete(gone, tell=tell) if gone and may_delete(gone) else 0)


def delete(changes: Sequence[Change], *, tell: Callable[[Change], None]) -> int:
    """Carry out deletions; return their number. Raises DeployError, before anything that is protected."""
    for change in changes:
        if (change.before or {}).get("protected"):
            raise DeployError(
                f"{change.resource.address} is protected from deletion. Set `protected = false` in "
                "`[database]` of the stage file and run `apply`, or, if the file does not name it any more, "
                f"run `gcloud sql instances patch {change.resource.name} --no-deletion-protection`; then "
                "repeat the command."
            )
    for change in changes:
        tell(change)
        change.carry_out()
    return len(changes)


def check_no_data(changes: Iterable[Change]) -> None:
    """Raise DeployError if one of the deletions would delete what users stored."""
    holding = [change.resource.address for change in changes if change.resource.holds_data]
    if holding:
        raise DeployError(
            f"{', '.join(holding)} would be deleted with everything that users stored there. "
            "Repeat the command with `--with-data` if you want that."
        )


def _shown(path: str, value: Any) -> str:
    if value is None:
        return "none"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    table, _, variable = path.partition(".")
    if table == "env":
        text = shown_variable(variable, text)
    return text if len(text) <= 120 else f"{text[:117]}..."
