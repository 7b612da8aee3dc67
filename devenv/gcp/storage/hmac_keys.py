"""HMAC keys of service accounts, by which S3 clients sign their requests to the XML API.

A key is an access id and a secret, which the answer to its creation has and no other. An inactive
key signs nothing; only an inactive one can be deleted. A deleted key is listed for 30 days where
deleted keys are asked for.

See https://cloud.google.com/storage/docs/authentication/hmackeys and
https://cloud.google.com/storage/docs/json_api/v1/projects/hmacKeys.
"""

import base64
import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from starlette.responses import Response

from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, NotFound, ResourceExhausted
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.errors import InvalidSecurity, PreconditionFailed
from devenv.gcp.storage.exchange import Exchange, answer
from devenv.gcp.storage.listing import make_token, page_size, read_token
from devenv.gcp.storage.parameters import flag
from devenv.gcp.storage.resources import timestamp
from devenv.gcp.storage.signed import Verifier
from devenv.gcp.store import Table

ACTIVE, INACTIVE, DELETED = "ACTIVE", "INACTIVE", "DELETED"
_MOST_KEYS = 10  # of one account; deleted ones do not count
_KEPT = 30 * 86_400  # seconds that a deleted key is listed


@dataclass(frozen=True, slots=True)
class HmacKey:
    """A key of the account `email`; moments are in Unix seconds, `version` counts changes."""

    access_id: str
    secret: str
    email: str
    created: float
    updated: float
    state: str = ACTIVE
    version: int = 1

    @property
    def etag(self) -> str:
        return base64.b64encode(f"hmac/{self.version}".encode()).decode()

    def dump(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def load(cls, value: bytes) -> Self:
        return cls(**json.loads(value))


class HmacKeys:
    """The keys of one project, and the handlers of the JSON API for them."""

    def __init__(self, config: CloudConfig, table: Table, verifier: Verifier, clock: Clock) -> None:
        self._config = config
        self._table = table
        self._verifier = verifier
        self._clock = clock

    def secret(self, access_id: str) -> tuple[str, str]:
        """Return the account and the secret of an active key. Raises InvalidSecurity."""
        value = self._table.get(access_id)
        key = HmacKey.load(value) if value else None
        if key is None or key.state != ACTIVE or not self._verifier.is_enabled(key.email):
            raise InvalidSecurity("The provided security credentials are not valid.")
        return key.email, key.secret

    async def create(self, exchange: Exchange, project: str) -> Response:
        self._allow(exchange.access, project, "create")
        email = exchange.query.get("serviceAccountEmail", "")
        if not email:
            raise InvalidArgument("Required parameter: serviceAccountEmail")
        if not self._verifier.is_enabled(email):
            raise NotFound(f"Service account {email[:200]} does not exist, or is disabled.")
        if sum(key.email == email and key.state != DELETED for key in self._all()) >= _MOST_KEYS:
            raise ResourceExhausted(
                f"The service account has {_MOST_KEYS} HMAC keys, the most that it can have; delete "
                "one first."
            )
        now = self._clock.now()
        # As Google's: 61 characters that begin with GOOG1E, and 40 of base64.
        access_id = f"GOOG1E{base64.b32encode(secrets.token_bytes(35)).decode()[:55]}"
        secret = base64.b64encode(secrets.token_bytes(30)).decode()
        key = self._saved(HmacKey(access_id, secret, email, now, now))
        resource = {
            "kind": "storage#hmacKey",
            "metadata": self._metadata(exchange, key),
            "secret": secret,
        }
        return answer(resource)

    async def listing(self, exchange: Exchange, project: str) -> Response:
        self._allow(exchange.access, project, "list")
        query = exchange.query
        email, deleted = query.get("serviceAccountEmail", ""), flag(query, "showDeletedKeys")
        start, limit = read_token(query.get("pageToken", ""))[0], page_size(query)
        found = [
            key
            for key in self._all()
            if key.access_id >= start
            and email in ("", key.email)
            and (deleted or key.state != DELETED)
        ]
        page: dict[str, Any] = {"kind": "storage#hmacKeysMetadata"}
        if found:
            page["items"] = [self._metadata(exchange, key) for key in found[:limit]]
        if len(found) > limit:
            page["nextPageToken"] = make_token(found[limit].access_id)
        return answer(page)

    async def get(self, exchange: Exchange, project: str, access_id: str) -> Response:
        self._allow(exchange.access, project, "get")
        return answer(self._metadata(exchange, self._find(access_id)))

    async def update(self, exchange: Exchange, project: str, access_id: str) -> Response:
        """Change the state of a key; an etag in the body must be the present one."""
        self._allow(exchange.access, project, "update")
        body, key = await exchange.json(), self._find(access_id)
        state = body.get("state")
        if state not in (ACTIVE, INACTIVE):
            raise InvalidArgument(
                f"state is {str(state)[:40]!r}; it must be {ACTIVE} or {INACTIVE}."
            )
        if key.state == DELETED:
            raise InvalidArgument("A deleted HMAC key cannot be changed.")
        if body.get("etag", key.etag) != key.etag:
            raise PreconditionFailed
        return answer(self._metadata(exchange, self._changed(key, state)))

    async def delete(self, exchange: Exchange, project: str, access_id: str) -> Response:
        self._allow(exchange.access, project, "delete")
        key = self._find(access_id)
        if key.state != INACTIVE:
            raise InvalidArgument(
                f"Cannot delete HMAC key in state {key.state}; set its state to {INACTIVE} first."
            )
        self._changed(key, DELETED)
        return Response(status_code=204)

    def _allow(self, access: Access, project: str, verb: str) -> None:
        if project not in (self._config.project, self._config.number):
            raise NotFound(f"The project '{project[:100]}' does not exist.")
        access.require(f"storage.hmacKeys.{verb}")

    def _all(self) -> Iterator[HmacKey]:
        """Yield the keys in the order of their ids, without those that were deleted long ago."""
        for access_id, value in self._table.scan():
            key = HmacKey.load(value)
            if key.state == DELETED and key.updated + _KEPT <= self._clock.now():
                self._table.delete(access_id)
            else:
                yield key

    def _find(self, access_id: str) -> HmacKey:
        key = next((key for key in self._all() if key.access_id == access_id), None)
        if key is None:
            raise NotFound(f"HMAC key {access_id[:100]} does not exist.")
        return key

    def _changed(self, key: HmacKey, state: str) -> HmacKey:
        now = self._clock.now()
        return self._saved(replace(key, state=state, updated=now, version=key.version + 1))

    def _saved(self, key: HmacKey) -> HmacKey:
        self._table.put(key.access_id, key.dump())
        return key

    def _metadata(self, exchange: Exchange, key: HmacKey) -> dict[str, Any]:
        project = self._config.project
        path = f"/storage/v1/projects/{project}/hmacKeys/{key.access_id}"
        return {
            "kind": "storage#hmacKeyMetadata",
            "id": f"{project}/{key.access_id}",
            "selfLink": exchange.shapes.base + path,
            "accessId": key.access_id,
            "projectId": project,
            "serviceAccountEmail": key.email,
            "state": key.state,
            "timeCreated": timestamp(key.created),
            "updated": timestamp(key.updated),
            "etag": key.etag,
        }
