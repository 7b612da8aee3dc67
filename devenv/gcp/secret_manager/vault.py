"""Secrets, versions and payloads in the store, and the moments at which they end.

A secret is gone once its `expire_time` has passed, and a version whose destruction is scheduled is
destroyed then. No timer waits for these moments: a read finds and applies what is due.
"""

import secrets
from typing import Any

from devenv.gcp.clock import Clock
from devenv.gcp.messages import moment, set_moment
from devenv.gcp.secret_manager.limits import Secret, SecretVersion
from devenv.gcp.store import Store


class SecretVault:
    """Everything stored, by the id of a secret and the number of a version."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._secrets = store.table("secrets")
        self._versions = store.table("secret_versions")
        self._payloads = store.table("secret_payloads")

    def ids(self) -> list[str]:
        """Return the ids of all secrets, the newest first."""
        found = [(key, Secret.FromString(value)) for key, value in self._secrets.scan()]
        alive = [(key, secret) for key, secret in found if not self._is_expired(secret)]
        return [key for key, _ in sorted(alive, key=_newest_first)]

    def secret(self, secret_id: str) -> Any | None:
        """Return a google.cloud.secretmanager.v1.Secret, None if there is none."""
        value = self._secrets.get(secret_id)
        secret = Secret.FromString(value) if value is not None else None
        if secret is not None and self._is_expired(secret):
            self.delete(secret_id)
            return None
        return secret

    def put(self, secret_id: str, secret: Any) -> Any:
        """Store a secret under a new etag, and return it."""
        secret.etag = _new_etag()
        self._secrets.put(secret_id, secret.SerializeToString())
        return secret

    def delete(self, secret_id: str) -> None:
        """Remove a secret with its versions and payloads."""
        with self._store.transaction():
            for table in (self._payloads, self._versions):
                for key, _ in list(table.scan(f"{secret_id}/")):
                    table.delete(key)
            self._secrets.delete(secret_id)

    def numbers(self, secret_id: str) -> list[int]:
        """Return the numbers of the versions, the newest first."""
        keys = [key for key, _ in self._versions.scan(f"{secret_id}/")]
        return [int(key.rpartition("/")[2]) for key in reversed(keys)]

    def version(self, secret_id: str, number: int) -> Any | None:
        """Return a SecretVersion in the state that is due, None if there is none."""
        value = self._versions.get(_key(secret_id, number))
        if value is None:
            return None
        version = SecretVersion.FromString(value)
        if version.HasField("scheduled_destroy_time"):
            due = moment(version.scheduled_destroy_time)
            if due <= self._clock.now():
                self.destroy(secret_id, number, version, at=due)
        return version

    def add(self, secret_id: str, number: int, version: Any, payload: bytes) -> None:
        """Store a new version with its payload, both or neither."""
        with self._store.transaction():
            self._payloads.put(_key(secret_id, number), payload)
            self.put_version(secret_id, number, version)

    def put_version(self, secret_id: str, number: int, version: Any) -> None:
        """Store a version under a new etag."""
        version.etag = _new_etag()
        self._versions.put(_key(secret_id, number), version.SerializeToString())

    def payload(self, secret_id: str, number: int) -> bytes:
        """Return the payload of a version that is not destroyed."""
        return self._payloads.get(_key(secret_id, number)) or b""

    def destroy(self, secret_id: str, number: int, version: Any, *, at: float) -> None:
        """Remove the payload for ever; the version stays as a record of it."""
        version.state = SecretVersion.DESTROYED
        version.ClearField("scheduled_destroy_time")
        set_moment(version.destroy_time, at)
        with self._store.transaction():
            self._payloads.delete(_key(secret_id, number))
            self.put_version(secret_id, number, version)

    def _is_expired(self, secret: Any) -> bool:
        return secret.HasField("expire_time") and moment(secret.expire_time) <= self._clock.now()


def _key(secret_id: str, number: int) -> str:
    return f"{secret_id}/{number:010d}"


def _newest_first(item: tuple[str, Any]) -> tuple[float, str]:
    return -moment(item[1].create_time), item[0]


def _new_etag() -> str:
    return f'"{secrets.token_hex(7)}"'
