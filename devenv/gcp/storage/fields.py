"""Which parts of a resource a client may set, and how a PATCH changes them."""

from collections.abc import Mapping
from typing import Any

from devenv.gcp.errors import InvalidArgument

OBJECT_TEXTS = (
    "contentType",
    "contentEncoding",
    "contentDisposition",
    "contentLanguage",
    "cacheControl",
    "storageClass",
    "customTime",
)
BUCKET_FIELDS = (
    "cors",
    "defaultEventBasedHold",
    "iamConfiguration",
    "labels",
    "lifecycle",
    "location",
    "rpo",
    "softDeletePolicy",
    "storageClass",
    "versioning",
    "website",
)
_LONGEST_TEXT = 1024
_MOST_METADATA = 8192  # bytes; https://cloud.google.com/storage/quotas#objects


def object_fields(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `resource` sets on an object. Raises InvalidArgument."""
    fields: dict[str, Any] = {}
    for key in OBJECT_TEXTS:
        value = resource.get(key)
        if value is not None:
            fields[key] = _text(key, value)
    if (metadata := resource.get("metadata")) is not None:
        fields["metadata"] = _metadata(metadata)
    return fields


def patched_object(before: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `before` changed by a JSON merge patch. Raises InvalidArgument."""
    after = _merge(before, patch, (*OBJECT_TEXTS, "metadata"))
    if isinstance(metadata := patch.get("metadata"), Mapping):
        entries = {**before.get("metadata", {}), **metadata}
        after["metadata"] = {key: value for key, value in entries.items() if value is not None}
    return object_fields(after)


def bucket_fields(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `resource` sets on a bucket."""
    return _merge({}, resource, BUCKET_FIELDS)


def patched_bucket(before: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `before` changed by a JSON merge patch."""
    after = _merge(before, patch, BUCKET_FIELDS)
    if isinstance(labels := patch.get("labels"), Mapping):
        entries = {**before.get("labels", {}), **labels}
        after["labels"] = {key: value for key, value in entries.items() if value is not None}
    return after


def _merge(
    before: Mapping[str, Any], patch: Mapping[str, Any], keys: tuple[str, ...]
) -> dict[str, Any]:
    after = {**before, **{key: patch[key] for key in keys if key in patch}}
    return {key: value for key, value in after.items() if value is not None}


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not _printable(value):
        raise InvalidArgument(f"Invalid value for field '{key}'.")
    return value


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidArgument("Invalid value for field 'metadata'.")
    size = 0
    for key, text in value.items():
        if not isinstance(text, str) or not key:
            raise InvalidArgument(f"Invalid value for metadata '{str(key)[:100]}'.")
        size += len(key.encode("utf-8", "replace")) + len(text.encode("utf-8", "replace"))
    if size > _MOST_METADATA:
        raise InvalidArgument(
            f"The total size of custom metadata, {size} bytes, exceeds {_MOST_METADATA} bytes."
        )
    return dict(value)


def _printable(value: str) -> bool:
    """These end up in HTTP headers, where a line break would be another header."""
    return not any(ord(character) < 32 or ord(character) == 127 for character in value)
