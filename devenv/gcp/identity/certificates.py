"""Google's certificate endpoints: the keys that verify ID tokens and signatures."""

import json
from base64 import urlsafe_b64encode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devenv.gcp.errors import NotFound
from devenv.gcp.identity.identity import ISSUER, Identity
from devenv.gcp.identity.keys import SigningKey
from devenv.gcp.rpc import HttpMount

# As Google sends it, a little shorter: long enough to be cached, short enough for a key change.
_CACHED = {"cache-control": "public, max-age=21600, must-revalidate, no-transform"}
_SIGNER = "federated-signon.system.gserviceaccount.com"
CERTS = "oauth2.certs"
_DISCOVERY = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
    "token_endpoint": "https://oauth2.googleapis.com/token",
    "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
    "response_types_supported": ["id_token"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
    "claims_supported": ["aud", "azp", "email", "email_verified", "exp", "iat", "iss", "sub"],
}


def jwk(key: SigningKey) -> dict[str, str]:
    """Return the public half of `key` as a JSON Web Key."""
    numbers = key.private.public_key().public_numbers()
    return {
        "kty": "RSA",
        "alg": "RS256",
        "use": "sig",
        "kid": key.kid,
        "n": _number(numbers.n),
        "e": _number(numbers.e),
    }


def mounts(identity: Identity) -> tuple[HttpMount, ...]:
    """Return the certificate and discovery endpoints of `identity`."""
    key = identity.signing_key
    certificates = json.dumps({key.kid: key.certificate(_SIGNER)}).encode()
    web_keys = json.dumps({"keys": [jwk(key)]}).encode()

    async def v1(_: Request) -> Response:
        return Response(certificates, media_type="application/json", headers=_CACHED)

    async def v3(_: Request) -> Response:
        return Response(web_keys, media_type="application/json", headers=_CACHED)

    async def discovery(_: Request) -> Response:
        return JSONResponse(_DISCOVERY, headers=_CACHED)

    async def of_account(request: Request) -> Response:
        try:
            email = identity.account(request.path_params["email"]).email
        except NotFound:
            return JSONResponse({"error": "Account Not Found"}, 404)
        signer = identity.system_key(email)
        users = {key.kid: key.certificate for key in identity.user_keys.of(email)}
        return JSONResponse({signer.kid: signer.certificate(email)} | users, headers=_CACHED)

    keys = Starlette(
        routes=[
            Route("/oauth2/v1/certs", v1),
            Route("/oauth2/v3/certs", v3),
            Route("/service_accounts/v1/metadata/x509/{email}", of_account),
            Route("/robot/v1/metadata/x509/{email}", of_account),
        ]
    )
    accounts = Starlette(routes=[Route("/.well-known/openid-configuration", discovery)])
    paths = ("/oauth2/v1/certs", "/oauth2/v3/certs", "/service_accounts/v1/", "/robot/v1/")
    return (
        HttpMount(("www.googleapis.com",), keys, paths, method=lambda *_: CERTS, methods=(CERTS,)),
        HttpMount(("accounts.google.com",), accounts, ("/.well-known/openid-configuration",)),
    )


def _number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8)
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
