"""Lifecycle rules of a bucket: what they may hold, and which action they have for an object.

A rule has one action and conditions that must all hold. Of several rules that match an object,
Delete goes before SetStorageClass, and of these the coldest class is taken.

See https://cloud.google.com/storage/docs/lifecycle.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import NotEmulated
from devenv.gcp.storage.model import BucketRecord, ObjectRecord
from devenv.gcp.storage.parameters import number

DELETE, SET_CLASS, ABORT = "Delete", "SetStorageClass", "AbortIncompleteMultipartUpload"
_DAY = 86_400
_MOST_RULES = 100
_MOST_TEXTS = 1000
_CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")  # each colder than those before it
_COUNTS = ("age", "daysSinceCustomTime", "daysSinceNoncurrentTime", "numNewerVersions")
_DATES = ("createdBefore", "customTimeBefore", "noncurrentTimeBefore")
_LISTS = ("matchesPrefix", "matchesSuffix", "matchesStorageClass")
_OF_UPLOADS = ("age", "matchesPrefix", "matchesSuffix")


def lifecycle_fields(key: str, value: Any) -> dict[str, Any] | None:
    """Return the setting `lifecycle` of a bucket; None without rules. Raises InvalidArgument."""
    _members(key, value, ("rule",))
    rules = value.get("rule") or []
    if not isinstance(rules, list):
        raise InvalidArgument(f"{key}.rule must be a list.")
    if len(rules) > _MOST_RULES:
        raise InvalidArgument(f"{key}.rule has {len(rules)} rules; a bucket has at most 100.")
    read = [_rule(f"{key}.rule[{index}]", rule) for index, rule in enumerate(rules)]
    return {"rule": read} if read else None


def _rule(key: str, rule: Any) -> dict[str, Any]:
    _members(key, rule, ("action", "condition"))
    action = rule.get("action")
    _members(f"{key}.action", action, ("type", "storageClass"))
    kind = action.get("type")
    if kind not in (DELETE, SET_CLASS, ABORT):
        raise InvalidArgument(
            f"{key}.action.type is {str(kind)[:60]!r}; it must be {DELETE}, {SET_CLASS} or {ABORT}."
        )
    if kind == SET_CLASS and action.get("storageClass") not in _CLASSES[1:]:
        given = str(action.get("storageClass"))[:60]
        raise InvalidArgument(
            f"{key}.action.storageClass is {given!r}; it must be one of {', '.join(_CLASSES[1:])}."
        )
    condition = rule.get("condition")
    allowed = _OF_UPLOADS if kind == ABORT else (*_COUNTS, *_DATES, *_LISTS, "isLive")
    _members(f"{key}.condition", condition, allowed)
    if not condition:
        raise InvalidArgument(f"{key}.condition is empty; a rule needs at least one condition.")
    return {
        "action": dict(action),
        "condition": {
            name: _value(f"{key}.condition.{name}", name, condition[name]) for name in condition
        },
    }


def _value(key: str, name: str, value: Any) -> Any:
    if name in _COUNTS:
        return number(value, key)
    if name in _LISTS:
        if not isinstance(value, list) or not 1 <= len(value) <= _MOST_TEXTS:
            raise InvalidArgument(f"{key} must be a list of 1 to {_MOST_TEXTS} texts.")
        if not all(isinstance(text, str) for text in value):
            raise InvalidArgument(f"{key} must be a list of texts.")
        return value
    if name == "isLive":
        if not isinstance(value, bool):
            raise InvalidArgument(f"{key} must be true or false.")
        return value
    try:
        return dt.date.fromisoformat(value).isoformat()
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{key} is {str(value)[:60]!r}; it must be a date like 2027-01-31."
        ) from error


def _members(key: str, value: Any, names: Sequence[str]) -> None:
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"{key} must be an object.")
    for name in value:
        if name not in names:
            raise NotEmulated(f"The field '{key}.{str(name)[:100]}'")


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """A version of an object as conditions see it; `newer` counts the versions after it."""

    item: ObjectRecord
    newer: int
    now: float


_Holds: TypeAlias = Callable[[Any, VersionFacts], bool]


def _custom_time(facts: VersionFacts) -> float | None:
    text = facts.item.fields.get("customTime")
    return dt.datetime.fromisoformat(text).timestamp() if text else None


def _days_since(moment: float | None, days: int, now: float) -> bool:
    return moment is not None and now >= moment + days * _DAY


def _before(moment: float | None, date: str) -> bool:
    midnight = dt.datetime.fromisoformat(date).replace(tzinfo=dt.UTC).timestamp()
    return moment is not None and moment < midnight


_CONDITIONS: Mapping[str, _Holds] = {
    "age": lambda days, at: _days_since(at.item.created, days, at.now),
    "createdBefore": lambda date, at: _before(at.item.created, date),
    "customTimeBefore": lambda date, at: _before(_custom_time(at), date),
    "daysSinceCustomTime": lambda days, at: _days_since(_custom_time(at), days, at.now),
    "daysSinceNoncurrentTime": lambda days, at: _days_since(at.item.deleted or None, days, at.now),
    "isLive": lambda live, at: live is not bool(at.item.deleted),
    "matchesPrefix": lambda texts, at: at.item.name.startswith(tuple(texts)),
    "matchesSuffix": lambda texts, at: at.item.name.endswith(tuple(texts)),
    "matchesStorageClass": lambda texts, at: at.item.fields.get("storageClass") in texts,
    "noncurrentTimeBefore": lambda date, at: _before(at.item.deleted or None, date),
    "numNewerVersions": lambda count, at: at.newer >= count,
}


def rules_of(bucket: BucketRecord) -> Sequence[Mapping[str, Any]]:
    """Return the rules of a bucket."""
    found: Sequence[Mapping[str, Any]] = bucket.fields.get("lifecycle", {}).get("rule", ())
    return found


def action_for(rules: Sequence[Mapping[str, Any]], facts: VersionFacts) -> str:
    """Return `Delete`, the storage class to change to, or an empty text for no action."""
    known = facts.item.fields.get("storageClass", _CLASSES[0])
    coldest = _CLASSES.index(known) if known in _CLASSES else 0
    before = coldest
    for rule in rules:
        action = rule["action"]
        if action["type"] == ABORT or not _match(rule["condition"], facts):
            continue
        if action["type"] == DELETE:
            return DELETE
        coldest = max(coldest, _CLASSES.index(action["storageClass"]))
    return _CLASSES[coldest] if coldest > before else ""


def aborts_upload(rule: Mapping[str, Any], upload: ObjectRecord, now: float) -> bool:
    """Return whether a rule ends an unfinished multipart upload, given as what it would make."""
    facts = VersionFacts(upload, 0, now)
    return bool(rule["action"]["type"] == ABORT) and _match(rule["condition"], facts)


def _match(condition: Mapping[str, Any], facts: VersionFacts) -> bool:
    return all(_CONDITIONS[name](value, facts) for name, value in condition.items())
