"""Notifications of buckets: messages to Pub/Sub about objects that come, change and go.

See https://cloud.google.com/storage/docs/pubsub-notifications.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, NotFound
from devenv.gcp.outbox import Outbox
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.errors import NoSuchBucket
from devenv.gcp.storage.model import ObjectRecord
from devenv.gcp.storage.resources import Shapes, timestamp
from devenv.gcp.store import Store

_PREFIX = "//pubsub.googleapis.com/"
_EVENTS = ("OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE", "OBJECT_DELETE", "OBJECT_ARCHIVE")
_FORMATS = ("JSON_API_V1", "NONE")
_KNOWN = {"topic", "payload_format", "event_types", "custom_attributes", "object_name_prefix"}
_OUTPUT_ONLY = {"kind", "id", "etag", "selfLink"}
_MOST = 100
_MOST_ATTRIBUTES = 5


@dataclass(slots=True)  # not frozen, because one is made for each change
class ObjectEvent:
    """A change of an object, with the attributes that this kind of change has besides."""

    kind: str
    item: ObjectRecord
    attributes: Mapping[str, str] = field(default_factory=dict)


class Notifications:
    """The notification configurations of all buckets."""

    def __init__(
        self,
        config: CloudConfig,
        catalogue: Catalogue,
        store: Store,
        clock: Clock,
        outbox: Outbox,
    ) -> None:
        self._config = config
        self._table = store.table("storage_notifications")
        self._last_ids = store.table("storage_notification_ids")
        self.outbox = outbox
        # Each change of an object asks for those of its bucket.
        self._known: dict[str, list[dict[str, Any]]] = {}
        self._clock = clock
        self._find_bucket = catalogue.bucket

    def insert(self, access: Access, bucket: str, sent: Any) -> dict[str, Any]:
        """Store a new configuration and return it as a resource. Raises CloudError."""
        self._require(access, "storage.buckets.update", bucket)
        wanted = _checked(sent)
        topic = str(wanted["topic"]).removeprefix(_PREFIX)
        self.outbox.check(topic)
        known = self.of(bucket)
        if len(known) >= _MOST:
            raise InvalidArgument(f"The bucket has {_MOST} notification configurations already.")
        # The id of a deleted one is not given again.
        last = int(self._last_ids.get(bucket) or 0)
        number = max([last, *(int(each["id"]) for each in known)]) + 1
        self._last_ids.put(bucket, str(number).encode())
        resource = {
            "kind": "storage#notification",
            "id": str(number),
            "etag": str(number),
            "selfLink": "https://www.googleapis.com/storage/v1/b/"
            f"{bucket}/notificationConfigs/{number}",
            **wanted,
            "topic": _PREFIX + topic,
        }
        self._table.put(_key(bucket, number), json.dumps(resource).encode())
        self._known.pop(bucket, None)
        return resource

    def listing(self, access: Access, bucket: str) -> list[dict[str, Any]]:
        self._require(access, "storage.buckets.get", bucket)
        return self.of(bucket)

    def get(self, access: Access, bucket: str, number: str) -> dict[str, Any]:
        self._require(access, "storage.buckets.get", bucket)
        return self._find(bucket, number)

    def delete(self, access: Access, bucket: str, number: str) -> None:
        self._require(access, "storage.buckets.update", bucket)
        self._table.delete(_key(bucket, int(self._find(bucket, number)["id"])))
        self._known.pop(bucket, None)

    def forget(self, bucket: str) -> None:
        """Remove the configurations of a deleted bucket."""
        for each in self.of(bucket):
            self._table.delete(_key(bucket, int(each["id"])))
        self._known.pop(bucket, None)

    def of(self, bucket: str) -> list[dict[str, Any]]:
        """Return the configurations of a bucket as resources."""
        if (known := self._known.get(bucket)) is None:
            known = [json.loads(value) for _, value in self._table.scan(f"{bucket}\n")]
            self._known[bucket] = known
        return known

    def note(self, events: Iterable[ObjectEvent]) -> None:
        """Store the messages about events, within the transaction of the change."""
        for event in events:
            for each in self.of(event.item.bucket):
                kinds = each.get("event_types") or _EVENTS
                prefix = each.get("object_name_prefix", "")
                if event.kind in kinds and event.item.name.startswith(prefix):
                    topic = each["topic"].removeprefix(_PREFIX)
                    self.outbox.add(
                        topic, self._payload(each, event.item), self._attributes(each, event)
                    )

    def _payload(self, each: Mapping[str, Any], item: ObjectRecord) -> str:
        if each["payload_format"] != "JSON_API_V1":
            return ""
        shapes = Shapes(
            "https://www.googleapis.com",
            self._config.number,
            self._config.region,
            self._find_bucket,
        )
        return json.dumps(shapes.object(item), indent=2)

    def _attributes(self, each: Mapping[str, Any], event: ObjectEvent) -> dict[str, str]:
        item = event.item
        return {
            **each.get("custom_attributes", {}),
            "notificationConfig": f"projects/_/buckets/{item.bucket}/notificationConfigs/{each['id']}",
            "eventType": event.kind,
            "payloadFormat": each["payload_format"],
            "bucketId": item.bucket,
            "objectId": item.name,
            "objectGeneration": str(item.generation),
            "eventTime": timestamp(self._clock.now()),
            **event.attributes,
        }

    def _require(self, access: Access, permission: str, bucket: str) -> None:
        """Raise CloudError unless the bucket exists and the caller has the permission on it."""
        access.require(permission, bucket)
        if self._find_bucket(bucket) is None:
            raise NoSuchBucket

    def _find(self, bucket: str, number: str) -> dict[str, Any]:
        for each in self.of(bucket):
            if each["id"] == number:
                return each
        raise NotFound(f"The notification configuration {number[:100]} of {bucket} does not exist.")


def _checked(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that a caller may have. Raises InvalidArgument."""
    if unknown := sorted(set(sent) - _KNOWN - _OUTPUT_ONLY):
        raise InvalidArgument(f"{unknown[0][:100]!r} is not one of {', '.join(sorted(_KNOWN))}.")
    wanted = {key: value for key, value in sent.items() if key in _KNOWN and value}
    if not isinstance(wanted.get("topic"), str):
        raise InvalidArgument("Required parameter: topic")
    if wanted.setdefault("payload_format", "JSON_API_V1") not in _FORMATS:
        raise InvalidArgument(f"payload_format must be one of {', '.join(_FORMATS)}.")
    kinds = wanted.get("event_types", [])
    if not isinstance(kinds, list) or any(kind not in _EVENTS for kind in kinds):
        raise InvalidArgument(f"event_types must be a list of {', '.join(_EVENTS)}.")
    _check_attributes(wanted.get("custom_attributes", {}))
    if not isinstance(wanted.get("object_name_prefix", ""), str):
        raise InvalidArgument("object_name_prefix must be a text.")
    return wanted


def _check_attributes(attributes: Any) -> None:
    """Refuse attributes with which Pub/Sub would not take a message: nobody would hear of it."""
    if not isinstance(attributes, dict) or len(attributes) > _MOST_ATTRIBUTES:
        raise InvalidArgument(f"custom_attributes must have at most {_MOST_ATTRIBUTES} members.")
    for name, value in attributes.items():
        if not name or name.startswith("goog") or not _is_text(name, 256):
            raise InvalidArgument(
                f"custom_attributes: {name[:100]!r} must have 1 to 256 bytes, and not begin with goog."
            )
        if not _is_text(value, 1024):
            raise InvalidArgument(
                f"custom_attributes: {name[:100]} must be a text of at most 1024 bytes."
            )


def _is_text(value: Any, most: int) -> bool:
    """Return whether a value is a text of at most so many bytes in UTF-8."""
    try:
        return isinstance(value, str) and len(value.encode()) <= most
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False


def _key(bucket: str, number: int) -> str:
    return f"{bucket}\n{number:06d}"
