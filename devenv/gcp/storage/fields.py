"""The fields of buckets and objects that a client may set: what each one may hold.

Every field of Google's resources is in exactly one of three groups. A *setting* has a function that
validates its value; what it returns is kept, shown and acted upon. An *output* is computed by the
service, or a list of access control that `acl.py` reads, and ignored here when a client sends it
back, as Google does. An *unsupported* field has an
effect that is not emulated: it is refused by name unless its value says that it is switched off.
Names that are in no group are refused too, so that nothing is accepted without an effect.

A PATCH is a JSON merge patch (RFC 7396) over the settings that are already there, and the merged
result is validated as a whole; a PUT is validated alone and replaces all settings.

Fields: https://cloud.google.com/storage/docs/json_api/v1/buckets#resource-representations and
https://cloud.google.com/storage/docs/json_api/v1/objects#resource-representations.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import NotEmulated
from devenv.gcp.storage.lifecycle import lifecycle_fields
from devenv.gcp.storage.parameters import number

Settings: TypeAlias = Mapping[str, Callable[[str, Any], Any]]

_MAX_TEXT = 1024
_MAX_METADATA = 8192  # bytes; https://cloud.google.com/storage/quotas#objects
_MAX_RETENTION = 3_155_760_000  # seconds, a hundred years
_LEAST_SOFT_DELETE, _MOST_SOFT_DELETE = 7 * 86_400, 90 * 86_400  # seconds
_MAX_LABELS = 64
_MAX_DEPTH = 8
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LABEL = re.compile(r"[a-z0-9_\-\u00df-\uffff]{0,63}")
_STORAGE_CLASSES = (
    *("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"),
    *("MULTI_REGIONAL", "REGIONAL", "DURABLE_REDUCED_AVAILABILITY"),
)
_MULTI_REGIONS = ("US", "EU", "ASIA")
_DUAL_REGIONS = ("ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4")
_REGION = re.compile(r"[A-Z]+(-[A-Z]+)+\d{1,2}")


def merged(before: Mapping[str, Any], patch: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return `before` changed by a JSON merge patch. Raises InvalidArgument."""
    if depth > _MAX_DEPTH:
        raise InvalidArgument("The request body is nested too deeply.")
    after = dict(before)
    for key, value in patch.items():
        if isinstance(value, Mapping):
            known = after.get(key)
            after[key] = merged(known if isinstance(known, Mapping) else {}, value, depth + 1)
        elif value is None:
            after.pop(key, None)
        else:
            after[key] = value
    return after


def object_fields(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an object in `resource`. Raises InvalidArgument."""
    return _settings(resource, _OBJECT, _OBJECT_OUTPUTS, _OBJECT_UNSUPPORTED)


def bucket_fields(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a bucket in `resource`. Raises InvalidArgument."""
    fields = _settings(resource, _BUCKET, _BUCKET_OUTPUTS, _BUCKET_UNSUPPORTED)
    kind = location_type(fields.get("location", ""))
    if fields.get("rpo") == "ASYNC_TURBO" and kind != "dual-region":
        raise InvalidArgument("Turbo replication (rpo ASYNC_TURBO) needs a dual-region location.")
    return fields


def location_type(location: str) -> str:
    """Return `region`, `dual-region` or `multi-region`."""
    if location in _MULTI_REGIONS:
        return "multi-region"
    return "dual-region" if location in _DUAL_REGIONS else "region"


def _settings(
    resource: Mapping[str, Any],
    settings: Settings,
    outputs: Iterable[str],
    unsupported: Mapping[str, Callable[[Any], bool]],
) -> dict[str, Any]:
    fields = {}
    for key, value in resource.items():
        if value is None or key in outputs:
            continue
        if validate := settings.get(key):
            fields[key] = validate(key, value)
        elif key not in unsupported or not unsupported[key](value):
            raise NotEmulated(f"The field '{key[:100]}'")
    return {key: value for key, value in fields.items() if value is not None}


def _invalid(key: str) -> InvalidArgument:
    return InvalidArgument(f"Invalid value for field '{key[:100]}'.")


def _mapping(key: str, value: Any, names: Iterable[str]) -> Mapping[str, Any]:
    """Return `value` if it is an object with no other members than `names`."""
    if not isinstance(value, Mapping):
        raise _invalid(key)
    for name in value:
        if name not in names:
            raise NotEmulated(f"The field '{key}.{str(name)[:100]}'")
    return value


def _text(key: str, value: Any) -> str:
    """Return a text that can be an HTTP header, where a line break would begin another one."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise _invalid(key)
    if _CONTROL.search(value):
        raise _invalid(key)
    return value


def _boolean(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid(key)
    return value


def _choice(*choices: str) -> Callable[[str, Any], str]:
    def choose(key: str, value: Any) -> str:
        if value not in choices:
            raise InvalidArgument(
                f"Invalid value '{str(value)[:40]}' for field '{key}'; "
                f"it must be one of {', '.join(choices)}."
            )
        return str(value)

    return choose


def _time(key: str, value: Any) -> str:
    try:
        moment = dt.datetime.fromisoformat(value)
        stamp = moment.astimezone(dt.UTC).isoformat(timespec="milliseconds")
    except (OverflowError, TypeError, ValueError) as error:
        raise _invalid(key) from error
    if moment.tzinfo is None:
        raise _invalid(key)
    return stamp.replace("+00:00", "Z")


def _metadata(key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _invalid(key)
    size = 0
    for name, text in value.items():
        if not isinstance(text, str) or not name:
            raise InvalidArgument(f"Invalid value for metadata '{str(name)[:100]}'.")
        size += len(name.encode("utf-8", "replace")) + len(text.encode("utf-8", "replace"))
    if size > _MAX_METADATA:
        raise InvalidArgument(
            f"The total size of custom metadata, {size} bytes, exceeds {_MAX_METADATA} bytes."
        )
    return dict(value)


def _labels(key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > _MAX_LABELS:
        raise _invalid(key)
    for name, text in value.items():
        if not isinstance(text, str) or not name or not all(map(_LABEL.fullmatch, (name, text))):
            raise InvalidArgument(f"Invalid label '{str(name)[:100]}'.")
    return dict(value)


def _location(key: str, value: Any) -> str:
    location = _text(key, value).upper()
    if location not in (*_MULTI_REGIONS, *_DUAL_REGIONS) and not _REGION.fullmatch(location):
        raise InvalidArgument(f"The specified location constraint is not valid: '{value}'.")
    return location


def _enabled(key: str, value: Any) -> dict[str, bool]:
    """Return a setting that has nothing but a switch."""
    switch = _mapping(key, value, ("enabled",)).get("enabled", False)
    return {"enabled": _boolean(key, switch)}


def _iam(key: str, value: Any) -> dict[str, Any]:
    name, older = "uniformBucketLevelAccess", "bucketPolicyOnly"
    found = _mapping(key, value, (name, older, "publicAccessPrevention"))
    # Clients send both names; the older one is never stored, so it is of the request.
    switch = _mapping(name, found.get(older, found.get(name, {})), ("enabled", "lockedTime"))
    enabled = _boolean(f"{name}.enabled", switch.get("enabled", True))
    prevention = found.get("publicAccessPrevention", "inherited")
    choose = _choice("inherited", "enforced", "unspecified")
    chosen = choose("publicAccessPrevention", prevention)
    return {
        name: {"enabled": enabled},
        "publicAccessPrevention": "enforced" if chosen == "enforced" else "inherited",
    }


def _retention_policy(key: str, value: Any) -> dict[str, Any] | None:
    policy = _mapping(key, value, ("retentionPeriod", "effectiveTime", "isLocked"))
    period = number(policy.get("retentionPeriod", 0), "retentionPolicy.retentionPeriod")
    if period > _MAX_RETENTION:
        raise InvalidArgument(
            f"The retention period must not be longer than {_MAX_RETENTION} seconds."
        )
    return {**policy, "retentionPeriod": str(period)} if period else None


def _cors(key: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise _invalid(key)
    names = ("origin", "method", "responseHeader", "maxAgeSeconds")
    rules = [dict(_mapping(key, rule, names)) for rule in value]
    for rule in rules:
        for name in names[:3]:
            texts = rule.get(name, [])
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise _invalid(f"{key}.{name}")
        number(rule.get("maxAgeSeconds", 0), f"{key}.maxAgeSeconds")
    return rules


def _empty(value: Any) -> bool:
    return not value


def _off(member: str) -> Callable[[Any], bool]:
    """Return a test for objects whose only significant member is empty or false."""
    return lambda value: isinstance(value, Mapping) and not value.get(member)


def _soft_delete(key: str, value: Any) -> dict[str, Any]:
    """Return how long deleted objects are kept: not at all, or 7 to 90 days."""
    policy = _mapping(key, value, ("retentionDurationSeconds", "effectiveTime"))
    seconds = number(policy.get("retentionDurationSeconds", 0), f"{key}.retentionDurationSeconds")
    if seconds and not _LEAST_SOFT_DELETE <= seconds <= _MOST_SOFT_DELETE:
        raise InvalidArgument(
            f"{key}.retentionDurationSeconds is {seconds}; it must be 0, or {_LEAST_SOFT_DELETE} to "
            f"{_MOST_SOFT_DELETE}."
        )
    return {**policy, "retentionDurationSeconds": str(seconds)}


_storage_class = _choice(*_STORAGE_CLASSES)
_OBJECT: Settings = {
    "cacheControl": _text,
    "contentDisposition": _text,
    "contentEncoding": _text,
    "contentLanguage": _text,
    "contentType": _text,
    "customTime": _time,
    "eventBasedHold": _boolean,
    "metadata": _metadata,
    "storageClass": _storage_class,
    "temporaryHold": _boolean,
}
_OBJECT_OUTPUTS = frozenset(
    {
        *("acl", "bucket", "componentCount", "crc32c", "etag", "generation", "id", "kind"),
        "md5Hash",
        *("mediaLink", "metageneration", "name", "owner", "retentionExpirationTime", "selfLink"),
        *("size", "timeCreated", "timeDeleted", "timeFinalized", "timeStorageClassUpdated"),
        *("updated", "hardDeleteTime", "softDeleteTime"),
    }
)
_OBJECT_UNSUPPORTED: Mapping[str, Callable[[Any], bool]] = dict.fromkeys(
    ("contexts", "customerEncryption", "kmsKeyName", "retention"), _empty
)
_BUCKET: Settings = {
    "cors": _cors,
    "defaultEventBasedHold": _boolean,
    "iamConfiguration": _iam,
    "labels": _labels,
    "lifecycle": lifecycle_fields,
    "location": _location,
    "retentionPolicy": _retention_policy,
    "rpo": _choice("DEFAULT", "ASYNC_TURBO"),
    "softDeletePolicy": _soft_delete,
    "storageClass": _storage_class,
    "versioning": _enabled,
}
_BUCKET_OUTPUTS = frozenset(
    {
        *("acl", "defaultObjectAcl", "etag", "generation", "hardDeleteTime", "id", "kind"),
        "locationType",
        *("metageneration", "name", "owner", "projectNumber", "satisfiesPZI", "satisfiesPZS"),
        *("selfLink", "softDeleteTime", "timeCreated", "updated"),
    }
)
_BUCKET_UNSUPPORTED: Mapping[str, Callable[[Any], bool]] = {
    "autoclass": _off("enabled"),
    "billing": _off("requesterPays"),
    "customPlacementConfig": _off("dataLocations"),
    "encryption": _empty,
    "hierarchicalNamespace": _off("enabled"),
    "ipFilter": lambda value: value in ({}, {"mode": "Disabled"}),
    "logging": _empty,
    "objectRetention": _empty,
    "website": _empty,
}
