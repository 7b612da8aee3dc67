"""The public keys of other issuers, as their discovery documents name them.

Keys are kept for five minutes, whatever the issuer answers meanwhile. A token with an unknown key may
be the first one after a rotation, so the issuer is asked again, but not more than once in ten seconds:
anybody can send such tokens.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import urllib3

from devenv.gcp.clock import Clock

_KEPT_FOR = 300.0  # seconds
_PAUSE = 10.0  # seconds between two questions for keys that are not known
_MOST_BYTES = 1 << 20
_TIMEOUT = urllib3.Timeout(connect=3, read=5)


class KeysUnavailable(Exception):
    """Raised when the key of a token cannot be had; the message says why."""


@dataclass(slots=True)
class _Issuer:
    keys: list[jwt.PyJWK] = field(default_factory=list)
    asked_at: float | None = None
    fetched_at: float | None = None
    problem: str = ""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class IssuerKeys:
    """The keys of all issuers; `reachable` tells which hosts may be asked."""

    def __init__(self, clock: Clock, reachable: Callable[[str], bool]) -> None:
        self._clock = clock
        self._reachable = reachable
        self._web = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)
        self._issuers: dict[str, _Issuer] = {}

    async def find(self, issuer: str, kid: str) -> jwt.PyJWK:
        """Return a key of an issuer. Raises KeysUnavailable."""
        known = self._issuers.setdefault(issuer, _Issuer())
        async with known.asking:
            found = key_of(known.keys, kid)
            if found is None:
                is_due = self._passed(known.asked_at, _PAUSE)
            else:
                is_due = self._passed(known.fetched_at, _KEPT_FOR)
            if is_due:
                await self._ask(known, issuer)
                found = key_of(known.keys, kid)
        if found is None:
            raise KeysUnavailable(
                known.problem
                or f"The key {kid[:100]!r} of the token is not one of its issuer, which is asked at "
                f"most once in {_PAUSE:.0f} seconds."
            )
        return found

    async def _ask(self, known: _Issuer, issuer: str) -> None:
        try:
            known.keys, known.problem = await asyncio.to_thread(self._fetch, issuer), ""
            known.fetched_at = self._clock.now()
        except KeysUnavailable as error:
            known.problem = str(error)
            if self._passed(known.fetched_at, _KEPT_FOR):
                known.keys = []
        known.asked_at = self._clock.now()

    def _passed(self, moment: float | None, seconds: float) -> bool:
        """Return whether a moment is so long ago, or later than it is now."""
        return moment is None or not 0 <= self._clock.now() - moment <= seconds

    def _fetch(self, issuer: str) -> list[jwt.PyJWK]:
        """Return the keys that an issuer publishes. Slow: call it in a thread."""
        address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        found = self._get(address)
        if found.get("issuer") != issuer:
            raise KeysUnavailable(f"{address} does not name the issuer {issuer}.")
        return read_keys(json.dumps(self._get(str(found.get("jwks_uri", "")))))

    def _get(self, address: str) -> dict[str, Any]:
        try:
            # The host to which the request goes; other parsers may find another one in an odd address.
            host = (urllib3.util.parse_url(address).host or "").strip("[]")
            if not self._reachable(host):
                raise KeysUnavailable(
                    f"Error connecting to the given credential's issuer: {host[:200]!r} is not this "
                    "machine; put it in gcp.allow_hosts of devenv.toml, or give the provider "
                    "oidc.jwksJson."
                )
            answer = self._web.request("GET", address, preload_content=False, redirect=False)
            value = json.loads(answer.read(_MOST_BYTES))
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, ValueError, RecursionError) as error:
            raise KeysUnavailable(
                f"Error connecting to the given credential's issuer: {address[:200]} gives no JSON."
            ) from error
        return value if isinstance(value, dict) else {}


def read_keys(text: str) -> list[jwt.PyJWK]:
    """Return the keys of a JSON Web Key Set. Raises KeysUnavailable."""
    try:
        return jwt.PyJWKSet.from_json(text).keys
    except (
        *(jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError),
        RecursionError,
    ) as error:
        raise KeysUnavailable(f"The keys of the issuer cannot be read: {error}") from error


def key_of(keys: list[jwt.PyJWK], kid: str) -> jwt.PyJWK | None:
    """Return the key of an id; the only one for a token that names none."""
    matching: Iterator[jwt.PyJWK] = (
        key for key in keys if key.key_id == kid or (not kid and len(keys) == 1)
    )
    return next(matching, None)
