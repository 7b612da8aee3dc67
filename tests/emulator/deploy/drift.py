"""Changes of single settings of resources behind the back of `deploy`."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.api_core.gapic_v1 import method

from deploy.errors import DeployError
from deploy.resource import Resource

type Path = tuple[str | int, ...]
"""A setting in a message: names of fields, positions in lists, keys of mappings."""

_READS = ("Get", "List", "BatchGet")
# Kinds without drift: passwords and runs, of which a version is compared, and what other tests remove.
NO_DRIFT = ("access", "apis", "bucket", "database-user", "project-role", "release", "traffic")
# Names that Google or `apply` chooses anew each time, what is no setting, and a disk, which may grow.
_NO_SETTINGS = frozenset(
    {"name", "revision", "etag", "kind", "role_id", "account_id", "data_disk_size_gb"}
)


class Captured(BaseException):
    """A request that was about to be sent."""


class Drift:
    """Stands between Google's clients and the cloud."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._kept: list[Any] = []
        self._captures = False
        self._altered_read: tuple[str, Path] | None = None
        self._altered_request: Path | None = None
        call = method._GapicCallable.__call__

        def through(callable_: Any, *args: Any, **kwargs: Any) -> Any:
            request = args[0]
            if type(request).__name__.removeprefix("Sql").startswith(_READS) or _is_list(request):
                answer = call(callable_, *args, **kwargs)  # type: ignore[no-untyped-call]
                if self._altered_read:
                    _alter_all(_pb(answer), *self._altered_read)
                return answer
            if self._captures:
                self._kept.append(_settings(_pb(request)))
                raise Captured
            if self._altered_request:
                _alter(_settings(_pb(request)), self._altered_request)
            return call(callable_, *args, **kwargs)  # type: ignore[no-untyped-call]

        monkeypatch.setattr(method._GapicCallable, "__call__", through)

    def settings(self, resource: Resource) -> Iterator[tuple[str, Path]]:
        """Yield the message and the path of each setting that creation or an update sets."""
        current = resource.read()
        assert current is not None
        found: dict[tuple[str, Path], None] = {}
        for send in (resource.create, lambda: resource.update(current)):
            self._captures = True
            with suppress(Captured, DeployError):
                send()
            self._captures = False
        for message in self._kept:
            found |= {(message.DESCRIPTOR.full_name, path): None for path in _paths(message)}
        self._kept.clear()
        yield from found

    def is_seen(self, resource: Resource, message: str, path: Path) -> bool:
        """Return whether a plan has a change when the cloud tells another value of a setting."""
        wanted = resource.desired()
        self._altered_read = message, path
        try:
            return resource.read() != wanted
        finally:
            self._altered_read = None

    def change(self, resource: Resource, path: Path) -> bool:
        """Change a setting of a resource in the cloud; return False if the cloud refuses the value.

        The label of the stage stays: `apply` refuses what another stage has.
        """
        if path[-1] == "stage":
            return False
        current = resource.read()
        assert current is not None
        self._altered_request = path
        try:
            # An instance of Cloud SQL is compared again before the call.
            with patch.object(type(resource), "desired", return_value={}):
                resource.update(current)
        except (GoogleAPICallError, DeployError):
            return False
        finally:
            self._altered_request = None
        return True


def _is_list(request: Any) -> bool:
    return type(request).__name__.endswith(("ListRequest", "GetRequest"))


def _pb(message: Any) -> Any:
    kind = type(message)
    return kind.pb(message) if hasattr(kind, "pb") else message


def _settings(request: Any) -> Any:
    """Return the message in a request that has the settings, which is the largest."""
    fields = [
        value
        for field, value in request.ListFields()
        if field.message_type and not field.is_repeated and field.name != "update_mask"
    ]
    return max(fields, key=lambda each: each.ByteSize(), default=request)


def _paths(message: Any) -> Iterator[Path]:
    """Yield the settings of a message; of lists those of the first and the last element."""
    for field, value in message.ListFields():
        if field.name in _NO_SETTINGS:
            continue
        if not field.is_repeated:
            items: list[tuple[Path, Any]] = [((), value)]
        elif field.message_type and field.message_type.GetOptions().map_entry:
            items = [((key,), value[key]) for key in value]
        else:
            items = [((place,), value[place]) for place in sorted({0, len(value) - 1})]
        for key, item in items:
            inner = _paths(item) if hasattr(item, "ListFields") else iter([()])
            yield from ((field.name, *key, *rest) for rest in inner)


def _alter_all(answer: Any, kind: str, path: Path) -> None:
    """Alter a setting in an answer and in all messages of its kind that an answer lists."""
    if answer.DESCRIPTOR.full_name == kind:
        _alter(answer, path)
        return
    for field, value in answer.ListFields():
        if field.is_repeated and field.message_type and field.message_type.full_name == kind:
            for each in value:
                _alter(each, path)


def _alter(message: Any, path: Path) -> None:
    """Give the setting at a path another value of its type, if the message has it."""
    *outer, last = path
    holder, field = message, None
    for part in outer:
        if isinstance(part, str) and hasattr(holder, "DESCRIPTOR"):
            field = holder.DESCRIPTOR.fields_by_name[part]
            holder = getattr(holder, part)
        elif isinstance(part, int) and len(holder) <= part:
            return
        else:
            holder = holder[part]
    if hasattr(holder, "DESCRIPTOR"):
        field = holder.DESCRIPTOR.fields_by_name[str(last)]
        setattr(holder, field.name, _another(getattr(holder, field.name), field))
    elif isinstance(last, str) or len(holder) > last:
        holder[last] = _another(holder[last], field)


def _another(value: Any, field: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}x"
    numbers = [each.number for each in field.enum_type.values] if field.enum_type else []
    return next((each for each in numbers if each not in (0, value)), value + 1)
