"""Tokens as Google issues them: signed ID tokens and opaque access tokens.

An access token carries its own account, expiry and boundary under a keyed digest, so that it is
still good after the emulator was killed and started again.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devenv.gcp.caller import AccessBoundary, Caller
from devenv.gcp.clock import Clock
from devenv.gcp.identity.accounts import ServiceAccount
from devenv.gcp.identity.keys import KeyRing

ISSUER = "https://accounts.google.com"
LIFETIME = 3600
_PREFIX = "ya29.c."
_MAC = 16
_LONGEST = 16_384
_KEPT = 4096
_REUSED_FOR = 60


@dataclass(frozen=True, slots=True)
class Grant:
    """What an access token stands for."""

    caller: Caller
    expires: float


class IdTokens:
    """RS256 JWTs that `google.oauth2.id_token.verify_oauth2_token` accepts."""

    def __init__(self, keys: KeyRing, clock: Clock) -> None:
        self.key = keys.key("id-tokens")
        self._clock = clock
        self._header = _b64json({"alg": "RS256", "kid": self.key.kid, "typ": "JWT"})
        self._minted: dict[tuple[str, str, bool], tuple[float, str]] = {}

    def mint(self, account: ServiceAccount, audience: str, *, full: bool = True) -> str:
        """Return a token for `audience`; without `full` it lacks the e-mail address.

        Like the metadata server, this hands out the same token again for a while (our own rule:
        one minute), because a signature is the dearest thing that a request can cost.
        """
        now = self._clock.now()
        slot = (account.email, audience, full)
        minted, token = self._minted.get(slot, (0.0, ""))
        if not 0 <= now - minted < _REUSED_FOR:
            token = self._sign(_claims(account, audience, int(now), full=full))
            _remember(self._minted, slot, (now, token))
        return token

    def claims(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of a token that we signed and that is not expired, else None."""
        signed, _, signature = token.rpartition(".")
        try:
            genuine = self.key.verifies(_unb64(signature), signed.encode())
        except (ValueError, Base64Error):
            return None
        if not genuine:
            return None
        claims = json.loads(_unb64(signed.partition(".")[2]))
        if not claims["iat"] <= self._clock.now() < claims["exp"]:
            return None
        return dict(claims)

    def _sign(self, claims: Mapping[str, Any]) -> str:
        signed = f"{self._header}.{_b64json(claims)}"
        return f"{signed}.{_b64(self.key.sign(signed.encode()))}"


class AccessTokens:
    """OAuth tokens that only this emulator can read."""

    def __init__(self, keys: KeyRing, clock: Clock) -> None:
        self._secret = keys.secret("access-tokens")
        self._clock = clock
        self._known: dict[str, Grant] = {}

    def mint(
        self, email: str, *, lifetime: float = LIFETIME, boundary: AccessBoundary | None = None
    ) -> str:
        """Return a token for `email` that expires after `lifetime` seconds."""
        rules = boundary.rules if boundary else None
        payload = json.dumps([email, self._clock.now() + lifetime, rules]).encode()
        return _PREFIX + _b64(self._mac(payload) + payload)

    def read(self, token: str) -> Grant | None:
        """Return what `token` grants, expired or not; None if we did not issue it."""
        if (grant := self._known.get(token)) is None and (grant := self._parse(token)):
            _remember(self._known, token, grant)
        return grant

    def _parse(self, token: str) -> Grant | None:
        if not token.startswith(_PREFIX) or len(token) > _LONGEST:
            return None
        try:
            raw = _unb64(token.removeprefix(_PREFIX))
        except (ValueError, Base64Error):
            return None
        mac, payload = raw[:_MAC], raw[_MAC:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            return None
        email, expires, rules = json.loads(payload)
        boundary = None
        if rules is not None:
            boundary = AccessBoundary(tuple((r, tuple(roles), c) for r, roles, c in rules))
        return Grant(Caller(email, boundary), expires)

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, payload, "sha256")[:_MAC]


def _claims(
    account: ServiceAccount, audience: str, now: int, *, full: bool
) -> dict[str, str | int | bool]:
    # A verifier whose clock is a little behind, and which allows no skew, must accept it.
    issued = now - 1
    claims: dict[str, str | int | bool] = {
        "aud": audience,
        "azp": account.unique_id,
        "exp": issued + LIFETIME,
        "iat": issued,
        "iss": ISSUER,
        "sub": account.unique_id,
    }
    if full:
        claims |= {"email": account.email, "email_verified": True}
    return claims


def _remember[K, V](cache: dict[K, V], key: K, value: V) -> None:
    if len(cache) >= _KEPT:
        cache.clear()
    cache[key] = value


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _b64json(value: Mapping[str, Any]) -> str:
    return _b64(json.dumps(value, separators=(",", ":")).encode())
