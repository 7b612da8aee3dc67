"""Codes and tokens of the OpenID Connect provider, and the key that signs them.

The authorization code flow with PKCE, as in OpenID Connect Core 1.0 (section 3.1), RFC 6749 and
RFC 7636. Codes and access tokens are kept in memory: a restart ends them, as a provider's own outage
would. The key stays in the data folder, so that clients may keep its public half.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_Kept = TypeVar("_Kept")

CODE_SECONDS = 60
TOKEN_SECONDS = 3600
_MOST = 1000
_SUBJECTS = uuid.UUID("6f0f9c1e-3d1a-4c55-9a53-7e9f0a3c2b11")


class OidcError(Exception):
    """An error of the protocol: `code` as the specifications name it, and a sentence."""

    def __init__(self, code: str, description: str, *, status: int = 400) -> None:
        super().__init__(description)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcClient:
    """The program that people sign in to; only `redirect_uris` get codes."""

    id: str
    secret: str
    redirect_uris: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person who signs in; the subject is made of the address."""

    email: str
    name: str = ""
    email_verified: bool = True

    def claims(self) -> dict[str, Any]:
        """Return the standard claims of scopes `email` and `profile`."""
        given, _, family = self.name.partition(" ")
        named = {"name": self.name, "given_name": given, "family_name": family}
        return {
            "sub": str(uuid.uuid5(_SUBJECTS, self.email.lower())),
            "email": self.email,
            "email_verified": self.email_verified,
            **{claim: value for claim, value in named.items() if value},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """Parameters of the authorization endpoint."""

    client_id: str
    redirect_uri: str
    code_challenge: str
    state: str = ""
    nonce: str = ""
    login_hint: str = ""


@dataclass(slots=True)
class _Code:
    request: AuthorizationRequest
    person: Person
    expires_at: float
    token: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    person: Person
    expires_at: float


class OidcProvider:
    """One client's provider at `issuer`; its key is in `folder`."""

    def __init__(
        self,
        *,
        issuer: str,
        client: OidcClient,
        folder: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer
        self.client = client
        self._clock = clock
        self._key = _load_key(folder / "key.pem")
        public: dict[str, Any] = json.loads(
            jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key())
        )
        digest = hashlib.sha256(public["n"].encode()).hexdigest()
        self._jwk = {**public, "use": "sig", "alg": "RS256", "kid": digest[:16]}
        self._codes: OrderedDict[str, _Code] = OrderedDict()
        self._tokens: OrderedDict[str, _Token] = OrderedDict()

    def discovery(self) -> dict[str, Any]:
        """Return the document of `/.well-known/openid-configuration` (Discovery 1.0, section 3)."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "claims_supported": ["sub", "email", "email_verified", "name"],
            "authorization_response_iss_parameter_supported": True,
        }

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a key set."""
        return {"keys": [self._jwk]}

    def issue_code(self, request: AuthorizationRequest, person: Person) -> str:
        """Return a code that the client can redeem once within a minute."""
        code = secrets.token_urlsafe(32)
        _put(self._codes, code, _Code(request, person, self._clock() + CODE_SECONDS))
        return code

    def authenticate_client(self, client_id: str, secret: str) -> None:
        """Raise OidcError unless id and secret are the client's."""
        known = _equal(client_id, self.client.id) and _equal(secret, self.client.secret)
        if not known:
            raise OidcError("invalid_client", "The client or its secret is unknown.", status=401)

    def redeem(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Return the tokens for a code. Raises OidcError.

        A code that comes a second time ends the token that it gave (RFC 6749, section 4.1.2).
        """
        if form.get("grant_type") != "authorization_code":
            raise OidcError("unsupported_grant_type", "grant_type must be authorization_code.")
        code = self._codes.get(form.get("code", ""))
        if code is None or code.expires_at <= self._clock():
            raise OidcError("invalid_grant", "The code is unknown or has expired.")
        if code.token:
            self._tokens.pop(code.token, None)
            raise OidcError("invalid_grant", "The code was used before; its token is revoked.")
        if form.get("redirect_uri") != code.request.redirect_uri:
            raise OidcError("invalid_grant", "redirect_uri is not that of the code.")
        if not _equal(_challenge(form.get("code_verifier", "")), code.request.code_challenge):
            raise OidcError("invalid_grant", "code_verifier does not fit the code_challenge.")
        code.token = secrets.token_urlsafe(32)
        _put(self._tokens, code.token, _Token(code.person, self._clock() + TOKEN_SECONDS))
        return {
            "access_token": code.token,
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": "openid email profile",
            "id_token": self._id_token(code),
        }

    def userinfo(self, token: str) -> dict[str, Any]:
        """Return the claims of a token's person. Raises OidcError."""
        found = self._tokens.get(token)
        if found is None or found.expires_at <= self._clock():
            raise OidcError("invalid_token", "The token is unknown or has expired.", status=401)
        return found.person.claims()

    def _id_token(self, code: _Code) -> str:
        now = int(self._clock())
        nonce = {"nonce": code.request.nonce} if code.request.nonce else {}
        claims = {
            "iss": self.issuer,
            "aud": self.client.id,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "auth_time": now,
            **nonce,
            **code.person.claims(),
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self._jwk["kid"]})


def _challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _put(kept: "OrderedDict[str, _Kept]", key: str, value: _Kept) -> None:
    kept[key] = value
    while len(kept) > _MOST:
        kept.popitem(last=False)


def _load_key(path: Path) -> rsa.RSAPrivateKey:
    """Return the key in `path`, made if it is missing; only its owner can read it."""
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    draft.replace(path)
    return key
