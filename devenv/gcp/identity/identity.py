"""The accounts of the emulated project, their tokens, and the caller of a request.

`Identity` is the Minter and Authenticator of every service. Its ID tokens are RS256 JWTs that
`google.oauth2.id_token.verify_oauth2_token` accepts. An access token carries its own account,
expiry, boundary and scopes under a keyed digest, so that it is still valid after the emulator was
killed and started again. A caller may also send a JWT that it signed with a service account's key
(Google's gRPC clients do so with a key file); its scopes are those of the cloud platform.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from google.rpc.error_details_pb2 import ErrorInfo

from devenv.gcp.caller import AccessBoundary, ApiCaller
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import FailedPrecondition, InvalidArgument, NotFound, Unauthenticated
from devenv.gcp.identity.accounts import Accounts, ServiceAccount
from devenv.gcp.identity.keys import KeyRing, PublicKey, SigningKey, UserKeys
from devenv.gcp.identity.pools import PRINCIPAL, Pools
from devenv.gcp.journal import OPERATOR
from devenv.gcp.store import Store

_K = TypeVar("_K")
_V = TypeVar("_V")

ISSUER = "https://accounts.google.com"
LIFETIME = 3600
_PREFIX = "ya29.c."
_MAC = 16
_LONGEST = 16_384
_KEPT = 4096
_REUSED_FOR = 60
# A verifier whose clock is a little behind, and which allows no skew, must accept an ID token.
_BACKDATED = 1
# How far the clock of a client may be ahead of or behind ours.
_SKEW = 300

_EXPECTED = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
_MISSING = f"Request is missing required authentication credential. {_EXPECTED}"
_INVALID = f"Request had invalid authentication credentials. {_EXPECTED}"


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """The meaning of an access token.

    A `primary` one is a program's own, from its metadata server or its key file. It expires by the
    machine's clock, as the program reckons: Google's gRPC clients ask for no new one when an unexpired
    token is refused. Every other expires by the clock of the cloud.
    """

    caller: ApiCaller
    expires: float
    primary: bool = False


class IdTokens:
    """RS256 JWTs that `google.oauth2.id_token.verify_oauth2_token` accepts."""

    def __init__(self, keys: KeyRing, clock: Clock) -> None:
        self.key = keys.key("id-tokens")
        self._clock = clock
        self._verified: dict[str, dict[str, Any]] = {}
        self._minted: dict[tuple[str, str, bool], tuple[float, str]] = {}

    def mint(self, account: ServiceAccount, audience: str, *, full: bool = True) -> str:
        """Return a token for `audience`; without `full` it lacks the email address.

        Like the metadata server, this returns the same token again for a while (our own rule:
        one minute), because the signature is the most expensive part of a request.
        """
        now = self._clock.now()
        slot = (account.unique_id, audience, full)
        minted, token = self._minted.get(slot, (0.0, ""))
        if not 0 <= now - minted < _REUSED_FOR:
            machine = int(self._clock.machine())
            token = sign_jwt(self.key, _claims(account, audience, machine, full=full))
            _remember(self._minted, slot, (now, token))
        return token

    def claims(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of a token that we signed and that is not expired, else None."""
        claims = self._verified.get(token)
        if claims is None and (claims := self._verify(token)):
            _remember(self._verified, token, claims)
        if not claims:
            return None
        # The claims are in the machine's time, so that every verifier accepts them.
        minted = self._clock.at(claims["iat"] + _BACKDATED)
        lifetime = claims["exp"] - claims["iat"] - _BACKDATED
        is_live = minted - _BACKDATED <= self._clock.now() < minted + lifetime
        return dict(claims) if is_live else None

    def _verify(self, token: str) -> dict[str, Any] | None:
        signed, _, signature = token.rpartition(".")
        try:
            genuine = self.key.verifies(_unb64(signature), signed.encode())
        except (ValueError, Base64Error):
            return None
        return dict(json.loads(_unb64(signed.partition(".")[2]))) if genuine else None


class AccessTokens:
    """OAuth tokens that only this emulator can read."""

    def __init__(self, keys: KeyRing, clock: Clock) -> None:
        self._secret = keys.secret("access-tokens")
        self._clock = clock
        self._known: dict[str, AccessGrant] = {}

    def mint(self, caller: ApiCaller, *, lifetime: float, primary: bool) -> str:
        """Return a token for `caller` that expires after `lifetime` seconds.

        Raises InvalidArgument for one that would be too long to be read again.
        """
        rules = caller.boundary.rules if caller.boundary else None
        now = self._clock.machine() if primary else self._clock.now()
        fields = [caller.email, now + lifetime, rules, caller.scopes, primary, caller.sets]
        payload = json.dumps(fields).encode()
        token = _PREFIX + _b64(self._mac(payload) + payload)
        if len(token) > _LONGEST:
            raise InvalidArgument(
                f"The access token would have {len(token)} characters, more than {_LONGEST}: shorten "
                "its scopes, access boundary, groups or attributes."
            )
        return token

    def read(self, token: str) -> AccessGrant | None:
        """Return the meaning of `token`, expired or not; None if it is not ours."""
        if (grant := self._known.get(token)) is None and (grant := self._parse(token)):
            _remember(self._known, token, grant)
        return grant

    def _parse(self, token: str) -> AccessGrant | None:
        if not token.startswith(_PREFIX) or len(token) > _LONGEST:
            return None
        try:
            raw = _unb64(token.removeprefix(_PREFIX))
        except (ValueError, Base64Error):
            return None
        mac, payload = raw[:_MAC], raw[_MAC:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            return None
        fields = json.loads(payload)
        fields += [(), False, ()][len(fields) - 3 :]  # which tokens of earlier versions lack
        email, expires, rules, scopes, primary, sets = fields
        boundary = None
        if rules is not None:
            boundary = AccessBoundary(tuple((r, tuple(roles), c) for r, roles, c in rules))
        return AccessGrant(ApiCaller(email, boundary, tuple(scopes), tuple(sets)), expires, primary)

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, payload, "sha256")[:_MAC]


def _claims(
    account: ServiceAccount, audience: str, now: int, *, full: bool
) -> dict[str, str | int | bool]:
    issued = now - _BACKDATED
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


def _remember(cache: dict[_K, _V], key: _K, value: _V) -> None:
    if len(cache) >= _KEPT:
        cache.clear()
    cache[key] = value


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _b64json(value: Mapping[str, Any]) -> str:
    return _b64(json.dumps(value, separators=(",", ":")).encode())


class Identity:
    """The accounts of a project and their tokens; the keys live in `folder`."""

    def __init__(
        self,
        *,
        config: CloudConfig,
        folder: Path,
        clock: Clock,
        store: Store,
        operator: str = "",
    ) -> None:
        """Take `operator`, if there is one, for the token of the developer at the console."""
        self._operator = operator
        self.accounts = Accounts(config, store)
        self.pools = Pools(config, store)
        self._clock = clock
        self._keys = KeyRing(folder)
        self.user_keys = UserKeys(folder / "users")
        self._id_tokens = IdTokens(self._keys, clock)
        self._access_tokens = AccessTokens(self._keys, clock)
        self._lenient = config.iam == "off"

    @property
    def signing_key(self) -> SigningKey:
        """The key under which ID tokens are signed."""
        return self._id_tokens.key

    def knows(self, email: str) -> bool:
        account = self.accounts.get(email)
        return account is not None and account.email == email

    def account(self, name: str) -> ServiceAccount:
        """Return the account with this email, unique id or short name. Raises NotFound."""
        if account := self.accounts.get(name):
            return account
        raise NotFound(f"Unknown service account: {name}")

    def _enabled(self, name: str) -> ServiceAccount:
        """Return an account that may get tokens. Raises NotFound or FailedPrecondition."""
        account = self.account(name)
        if account.disabled:
            raise FailedPrecondition(f"Service account {account.email} is disabled; enable it.")
        return account

    def is_enabled(self, email: str) -> bool:
        """Return whether the project has this account and it is not disabled."""
        account = self.accounts.get(email)
        return account is not None and not account.disabled

    def _is_live(self, caller: ApiCaller) -> bool:
        """Return whether an account, or the pool of a principal, still gives access."""
        if account := self.accounts.get(caller.email):
            return not account.disabled
        return caller.email.startswith(PRINCIPAL) and self.pools.is_live(caller.email)

    def id_token(self, email: str, audience: str, *, full: bool = True) -> str:
        return self._id_tokens.mint(self._enabled(email), audience, full=full)

    def claims(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of a valid ID token of ours, whatever its audience; else None.

        A token of the metadata server's standard format has no email address; it is added from
        `sub`, because Cloud Run accepts such tokens too.
        """
        claims = self._id_tokens.claims(token)
        account = self.accounts.get(str(claims.get("sub", ""))) if claims else None
        return {"email": account.email, **claims} if claims and account else claims

    def access_token(
        self,
        email: str,
        *,
        lifetime: float = LIFETIME,
        boundary: AccessBoundary | None = None,
        scopes: tuple[str, ...] = (),
        primary: bool = False,
    ) -> str:
        """Return a token for an account; without `scopes` it has that of the cloud platform."""
        caller = ApiCaller(self._enabled(email).email, boundary, scopes)
        return self._access_tokens.mint(caller, lifetime=lifetime, primary=primary)

    def token_of(self, caller: ApiCaller, *, lifetime: float, primary: bool = False) -> str:
        """Return a token for a caller whose own token, or that of another issuer, was checked."""
        return self._access_tokens.mint(caller, lifetime=lifetime, primary=primary)

    def grant(self, token: str) -> AccessGrant | None:
        """Return the meaning of a live access token of an account that is enabled."""
        grant = self._access_tokens.read(token)
        is_live = grant and self.remaining(grant) > 0 and self._is_live(grant.caller)
        return grant if is_live else None

    def remaining(self, grant: AccessGrant) -> float:
        """Return for how many seconds `grant` is still good."""
        return grant.expires - (self._clock.machine() if grant.primary else self._clock.now())

    def is_operator(self, token: str) -> bool:
        """Return whether this is the token of the control API."""
        given, wanted = token.encode(), self._operator.encode()
        return bool(wanted) and hmac.compare_digest(given, wanted)

    def who(self, authorization: str) -> str:
        """Return the account of an Authorization header with an access token or an ID token."""
        token = _token_of(authorization)
        if grant := self.grant(token):
            return grant.caller.email
        if self.is_operator(token):
            return OPERATOR
        return str((self.claims(token) or {}).get("email", ""))

    def caller(self, headers: Mapping[str, str]) -> ApiCaller:
        token = bearer(headers)
        grant = self._access_tokens.read(token)
        if grant and self.remaining(grant) > 0:
            if not self._is_live(grant.caller):
                raise _unauthenticated(token, "ACCOUNT_STATE_INVALID")
            return grant.caller
        if self.is_operator(token):
            return ApiCaller(OPERATOR)
        claims = self.assertion(token)
        # Python's clients sign an audience, Go's the scopes instead.
        if claims and (_is_for_google(claims.get("aud")) or "scope" in claims):
            scopes = tuple(str(claims.get("scope", "")).split())
            return ApiCaller(str(claims["iss"]), scopes=scopes)
        if self._lenient:
            return ApiCaller()
        if grant is not None:
            raise _unauthenticated(token, "ACCESS_TOKEN_EXPIRED")
        raise _unauthenticated(
            token, "ACCESS_TOKEN_TYPE_UNSUPPORTED" if token else "CREDENTIALS_MISSING"
        )

    def assertion(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of a live JWT that an account signed with a key of its own."""
        signed, _, signature = token.rpartition(".")
        head, _, body = signed.partition(".")
        try:
            kid, claims = json.loads(_unb64(head)).get("kid"), json.loads(_unb64(body))
            # Older clients (gtoken, which Node's storage client uses) do not name their key.
            email = str(claims["iss"])
            known = self.user_keys.of(email) if self.is_enabled(email) else []
            keys = [key for key in known if kid in (None, key.kid)]
            issued, expires = float(claims["iat"]), float(claims["exp"])
            genuine = any(key.verifies(_unb64(signature), signed.encode()) for key in keys)
        except (
            *(ValueError, KeyError, TypeError, AttributeError),
            *(OverflowError, RecursionError),
        ):
            return None
        # The program that signed it, and may use it for an hour, reads the machine's clock.
        now = self._clock.machine()
        is_live = issued - _SKEW <= now < expires + _SKEW and expires - issued <= LIFETIME
        return claims if genuine and is_live else None

    def blob_key(self, email: str) -> SigningKey:
        """Return the system-managed key with which signBlob signs for `email`."""
        return self.system_key(self._enabled(email).email)

    def system_key(self, email: str) -> SigningKey:
        """Return the system-managed key of an account, enabled or not."""
        return self._keys.key(email)

    def verify_signature(self, email: str, payload: bytes, signature: bytes) -> bool:
        """Return whether signBlob or a key of the account made `signature` over `payload`."""
        if not self.is_enabled(email):
            return False
        keys: list[SigningKey | PublicKey] = [self.blob_key(email), *self.user_keys.of(email)]
        return any(key.verifies(signature, payload) for key in keys)


def sign_jwt(key: SigningKey, claims: Mapping[str, Any]) -> str:
    """Return `claims` as a JWT that `key` signed."""
    header = _b64json({"alg": "RS256", "kid": key.kid, "typ": "JWT"})
    signed = f"{header}.{_b64json(claims)}"
    return f"{signed}.{_b64(key.sign(signed.encode()))}"


def _is_for_google(audience: object) -> bool:
    """Return whether a JWT's audience is one of Google's APIs: `https://run.googleapis.com/`."""
    host = str(audience).removeprefix("https://").partition("/")[0]
    return host.endswith(".googleapis.com")


def bearer(headers: Mapping[str, str]) -> str:
    """Return the bearer token of lower-cased `headers`, empty if there is none."""
    return _token_of(headers.get("authorization", ""))


@lru_cache(maxsize=1024)
def _token_of(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _unauthenticated(token: str, reason: str) -> Unauthenticated:
    """Return the refusal with one of Google's reasons (google/api/error_reason.proto)."""
    info = ErrorInfo(reason=reason, domain="googleapis.com")
    return Unauthenticated(_INVALID if token else _MISSING, (info,))
