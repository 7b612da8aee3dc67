"""Who is who in the emulated project: the Minter and Authenticator of every service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo

from devenv.gcp.caller import AccessBoundary, Caller
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import NotFound, Unauthenticated
from devenv.gcp.identity.accounts import Accounts, ServiceAccount
from devenv.gcp.identity.keys import KeyRing, SigningKey
from devenv.gcp.identity.tokens import LIFETIME, AccessTokens, Grant, IdTokens

_EXPECTED = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
_MISSING = f"Request is missing required authentication credential. {_EXPECTED}"
_INVALID = f"Request had invalid authentication credentials. {_EXPECTED}"


class Identity:
    """The accounts of `config` and their tokens; the keys live in `folder`."""

    def __init__(self, *, config: CloudConfig, folder: Path, clock: Clock) -> None:
        self.accounts = Accounts(config)
        self._clock = clock
        self._keys = KeyRing(folder)
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
        """Return the account with this e-mail, unique id or short name. Raises NotFound."""
        if account := self.accounts.get(name):
            return account
        raise NotFound(f"Unknown service account: {name}")

    def id_token(self, email: str, audience: str, *, full: bool = True) -> str:
        return self._id_tokens.mint(self.account(email), audience, full=full)

    def claims(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of a valid ID token of ours, whatever its audience; else None.

        A token of the metadata server's standard format says whose it is only by `sub`; the e-mail
        address is there all the same, because Cloud Run takes such tokens too.
        """
        claims = self._id_tokens.claims(token)
        account = self.accounts.get(str(claims.get("sub", ""))) if claims else None
        return {"email": account.email, **claims} if claims and account else claims

    def access_token(
        self, email: str, *, lifetime: float = LIFETIME, boundary: AccessBoundary | None = None
    ) -> str:
        account = self.account(email)
        return self._access_tokens.mint(account.email, lifetime=lifetime, boundary=boundary)

    def grant(self, token: str) -> Grant | None:
        """Return what a live access token stands for."""
        grant = self._access_tokens.read(token)
        return grant if grant and self.remaining(grant) > 0 else None

    def remaining(self, grant: Grant) -> float:
        """Return for how many seconds `grant` is still good."""
        return grant.expires - self._clock.now()

    def caller(self, headers: Mapping[str, str]) -> Caller:
        token = bearer(headers)
        grant = self._access_tokens.read(token)
        if grant and self.remaining(grant) > 0:
            return grant.caller
        if self._lenient:
            return Caller()
        raise _unauthenticated(token, expired=grant is not None)

    def blob_key(self, email: str) -> SigningKey:
        """Return the system-managed key with which signBlob signs for `email`."""
        return self._keys.key(self.account(email).email)

    def verify_signature(self, email: str, payload: bytes, signature: bytes) -> bool:
        """Return whether `signature` is the one that signBlob makes for `email` over `payload`."""
        return self.knows(email) and self.blob_key(email).verifies(signature, payload)


def bearer(headers: Mapping[str, str]) -> str:
    """Return the bearer token of lower-cased `headers`, empty if there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _unauthenticated(token: str, *, expired: bool) -> Unauthenticated:
    reason = "ACCESS_TOKEN_TYPE_UNSUPPORTED" if token else "CREDENTIALS_MISSING"
    if expired:
        reason = "ACCESS_TOKEN_EXPIRED"
    info = ErrorInfo(reason=reason, domain="googleapis.com")
    return Unauthenticated(_INVALID if token else _MISSING, (info,))
