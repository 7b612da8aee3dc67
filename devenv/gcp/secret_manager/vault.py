"""Secrets, versions and payloads: what callers may send, and what the store holds until it expires.

A secret is gone once its `expire_time` has passed, and a version whose destruction is scheduled is
destroyed then. No timer waits for these moments: a read finds and applies what is due.
"""

import re
import secrets
from typing import Any

import google_crc32c

from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.messages import every, masked, moment, refuse_unemulated, seconds, set_moment
from devenv.gcp.outbox import Outbox
from devenv.gcp.secret_manager.events import add_event
from devenv.gcp.store import Store

secret_manager = client_types("google.cloud.secretmanager_v1")

Secret = secret_manager.Secret.pb()
SecretVersion = secret_manager.SecretVersion.pb()

# https://cloud.google.com/secret-manager/quotas
_LARGEST_PAYLOAD = 64 * 1024
_MOST_LABELS = 64
_MOST_ALIASES = 50
_MOST_ANNOTATION_BYTES = 16 * 1024
_SHORTEST_DESTROY_TTL = 24 * 3600.0

_SECRET_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_LIFE = ("expire_time", "ttl", "version_destroy_ttl")
_CHANGEABLE = {"labels", "annotations", "version_aliases", *_LIFE, "etag", "topics", "rotation"}
_CHANGEABLE_PARTS = {"rotation.next_rotation_time", "rotation.rotation_period"}
_MOST_TOPICS = 10
_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
_SHORTEST_PERIOD, _LONGEST_PERIOD, _SOONEST = 3600.0, 3_153_600_000.0, 300.0  # of rotations
_FIELDS = every(
    *("name", "create_time", "etag", "labels", "annotations", "version_aliases", *_LIFE),
    topics=every("name"),
    rotation=every("next_rotation_time", "rotation_period"),
    replication=every("automatic", user_managed=every(replicas=every("location"))),
)


def check_secret_id(text: str) -> None:
    if not _SECRET_ID.fullmatch(text):
        raise InvalidArgument(
            f"The provided Secret ID [{text[:300]}] does not match the expected format "
            "[[a-zA-Z_0-9-]{1,255}]."
        )


def new_secret(wanted: Any, *, now: float, location: str = "") -> Any:
    """Return a checked copy of a secret that a caller wants to create, in a region or globally."""
    secret = Secret()
    secret.CopyFrom(wanted)
    for field in ("name", "create_time", "etag"):
        secret.ClearField(field)
    if location:
        if secret.HasField("replication"):
            raise InvalidArgument("Secret.replication cannot be set for a regional secret.")
    elif not secret.replication.WhichOneof("replication"):
        raise InvalidArgument("Secret.replication must be automatic or user_managed.")
    managed = secret.replication.user_managed
    if secret.replication.WhichOneof("replication") == "user_managed" and not managed.replicas:
        raise InvalidArgument("Secret.replication.user_managed needs at least one replica.")
    set_moment(secret.create_time, now)
    _check_rotation(secret, now)
    return _completed(secret, now)


def changed_secret(before: Any, wanted: Any, mask: Any, *, now: float) -> Any:
    """Return a checked copy of `before` with the fields that `mask` names taken from `wanted`."""
    if not mask.paths:
        raise InvalidArgument("update_mask must name at least one field.")
    for path in mask.paths:
        if path not in _CHANGEABLE and path not in _CHANGEABLE_PARTS:
            raise InvalidArgument(f"The field '{path[:100]}' of a secret cannot be updated.")
    secret = masked(before, wanted, mask)
    if not secret.rotation.ListFields():
        secret.ClearField("rotation")
    secret = _completed(secret, now)
    if secret.rotation != before.rotation:
        _check_rotation(secret, now)
    return secret


def check_payload(payload: Any) -> None:
    """Refuse a payload that is empty, too large, or not what its checksum says."""
    if not payload.data:
        raise InvalidArgument("Secret Payload cannot be empty.")
    if len(payload.data) > _LARGEST_PAYLOAD:
        raise InvalidArgument(
            f"Secret Payload cannot be greater than {_LARGEST_PAYLOAD} bytes; this one has "
            f"{len(payload.data)}."
        )
    if payload.HasField("data_crc32c") and payload.data_crc32c != checksum(payload.data):
        raise InvalidArgument("The checksum data_crc32c does not match the Secret Payload.")


def checksum(data: bytes) -> int:
    return int(google_crc32c.value(data))


def _completed(secret: Any, now: float) -> Any:
    refuse_unemulated(secret, _FIELDS, where="secret")
    if secret.HasField("ttl"):
        life = seconds(secret.ttl)
        if life <= 0:
            raise InvalidArgument("Secret.ttl must be positive.")
        set_moment(secret.expire_time, now + life)  # a oneof: the ttl goes
    elif secret.HasField("expire_time") and moment(secret.expire_time) <= now:
        raise InvalidArgument("Secret.expire_time must be in the future.")
    is_delayed = secret.HasField("version_destroy_ttl")
    if is_delayed and seconds(secret.version_destroy_ttl) < _SHORTEST_DESTROY_TTL:
        raise InvalidArgument("Secret.version_destroy_ttl must be at least 24 hours.")
    _check_maps(secret)
    _check_topics(secret)
    return secret


def _check_rotation(secret: Any, now: float) -> None:
    """Refuse a plan of rotations that Google would, once it changes."""
    rotation = secret.rotation
    if rotation.HasField("rotation_period"):
        if not _SHORTEST_PERIOD <= seconds(rotation.rotation_period) <= _LONGEST_PERIOD:
            raise InvalidArgument("Secret.rotation.rotation_period must be 1 hour to 100 years.")
        if not rotation.HasField("next_rotation_time"):
            raise InvalidArgument(
                "Secret.rotation.next_rotation_time must be set if rotation_period is."
            )
    if rotation.HasField("next_rotation_time"):
        left = moment(rotation.next_rotation_time) - now
        if not _SOONEST <= left <= _LONGEST_PERIOD:
            raise InvalidArgument(
                "Secret.rotation.next_rotation_time must be 5 minutes to 100 years in the future."
            )


def _check_topics(secret: Any) -> None:
    if len(secret.topics) > _MOST_TOPICS:
        raise InvalidArgument(f"A secret has at most {_MOST_TOPICS} topics.")
    for topic in secret.topics:
        if not _TOPIC.fullmatch(topic.name):
            raise InvalidArgument(f"'{topic.name[:200]}' must look like 'projects/*/topics/*'.")
    if secret.HasField("rotation") and not secret.topics:
        raise InvalidArgument("Secret.rotation requires Secret.topics.")


def _check_maps(secret: Any) -> None:
    if len(secret.labels) > _MOST_LABELS:
        raise InvalidArgument(f"A secret has at most {_MOST_LABELS} labels.")
    for key, value in secret.labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise InvalidArgument(f"The label '{key[:100]}' or its value is not valid.")
    if sum(len(k) + len(v) for k, v in secret.annotations.items()) > _MOST_ANNOTATION_BYTES:
        raise InvalidArgument("Secret.annotations has more than 16 KiB.")
    if len(secret.version_aliases) > _MOST_ALIASES:
        raise InvalidArgument(f"A secret has at most {_MOST_ALIASES} version aliases.")
    for alias in secret.version_aliases:
        if not _ALIAS.fullmatch(alias) or alias == "latest":
            raise InvalidArgument(f"'{alias[:100]}' cannot be the alias of a version.")


class SecretVault:
    """Everything stored, by the key of a secret and the number of a version.

    A change is stored with its event, for the topics of the secret.
    """

    def __init__(self, store: Store, clock: Clock, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._secrets = store.table("secrets")
        self._versions = store.table("secret_versions")
        self._payloads = store.table("secret_payloads")

    def secret_keys(self) -> list[str]:
        """Return the keys of all secrets, the newest first."""
        found = [(key, Secret.FromString(value)) for key, value in self._secrets.scan()]
        alive = [(key, secret) for key, secret in found if not self._is_expired(secret)]
        return [key for key, _ in sorted(alive, key=_newest_first)]

    def secret(self, key: str) -> Any | None:
        """Return a google.cloud.secretmanager.v1.Secret, None if there is none."""
        value = self._secrets.get(key)
        secret = Secret.FromString(value) if value is not None else None
        if secret is not None and self._is_expired(secret):
            self.delete(key)
            return None
        return secret

    def put(self, key: str, secret: Any, *events: str) -> Any:
        """Store a secret under a new etag, and return it."""
        secret.etag = _new_etag()
        with self._store.transaction():
            self._secrets.put(key, secret.SerializeToString())
            for event in events:
                self._note(event, secret)
        return secret

    def delete(self, key: str, secret: Any = None) -> None:
        """Remove a secret with its versions and payloads; it has an event if it is given."""
        with self._store.transaction():
            if secret is not None:
                self._note("SECRET_DELETE", secret)
            for table in (self._payloads, self._versions):
                for each, _ in list(table.scan(f"{key}/")):
                    table.delete(each)
            self._secrets.delete(key)

    def numbers(self, key: str) -> list[int]:
        """Return the numbers of the versions, the newest first."""
        keys = [each for each, _ in self._versions.scan(f"{key}/")]
        return [int(each.rpartition("/")[2]) for each in reversed(keys)]

    def version(self, key: str, number: int) -> Any | None:
        """Return a SecretVersion in the state that is due, None if there is none."""
        value = self._versions.get(_version_key(key, number))
        if value is None:
            return None
        version = SecretVersion.FromString(value)
        if version.HasField("scheduled_destroy_time"):
            due = moment(version.scheduled_destroy_time)
            if due <= self._clock.now():
                self.destroy(key, number, version, at=due)
        return version

    def add(self, key: str, number: int, version: Any, payload: bytes) -> None:
        """Store a new version with its payload, both or neither."""
        with self._store.transaction():
            self._payloads.put(_version_key(key, number), payload)
            self._put_version(key, number, version, "SECRET_VERSION_ADD")

    def put_version(self, key: str, number: int, version: Any, event: str) -> None:
        """Store a version under a new etag."""
        with self._store.transaction():
            self._put_version(key, number, version, event)

    def _put_version(self, key: str, number: int, version: Any, event: str) -> None:
        version.etag = _new_etag()
        self._versions.put(_version_key(key, number), version.SerializeToString())
        if secret := self._secrets.get(key):
            self._note(event, Secret.FromString(secret), version)

    def _note(self, event: str, secret: Any, version: Any = None) -> None:
        add_event(self._outbox, event, secret, version, now=self._clock.now())

    def payload(self, key: str, number: int) -> bytes:
        """Return the payload of a version that is not destroyed."""
        return self._payloads.get(_version_key(key, number)) or b""

    def destroy(self, key: str, number: int, version: Any, *, at: float) -> None:
        """Remove the payload for ever; the version stays as a record of it."""
        version.state = SecretVersion.DESTROYED
        version.ClearField("scheduled_destroy_time")
        set_moment(version.destroy_time, at)
        with self._store.transaction():
            self._payloads.delete(_version_key(key, number))
            self._put_version(key, number, version, "SECRET_VERSION_DESTROY")

    def _is_expired(self, secret: Any) -> bool:
        return secret.HasField("expire_time") and moment(secret.expire_time) <= self._clock.now()


def _version_key(key: str, number: int) -> str:
    return f"{key}/{number:010d}"


def _newest_first(item: tuple[str, Any]) -> tuple[float, str]:
    return -moment(item[1].create_time), item[0]


def _new_etag() -> str:
    return f'"{secrets.token_hex(7)}"'
