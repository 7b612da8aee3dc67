"""The IAM Service Account Credentials API: tokens and signatures in the name of another account."""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devenv.gcp.caller import Guard
from devenv.gcp.clock import Clock, rfc3339
from devenv.gcp.errors import CloudError, InvalidArgument, NotFound
from devenv.gcp.identity.accounts import ServiceAccount
from devenv.gcp.identity.identity import Identity
from devenv.gcp.rpc import Mount, body
from devenv.gcp.rpc.rest import failure

type _Body = Mapping[str, Any]
_LARGEST = 1 << 20
_LONGEST_LIFETIME = 3600


class CredentialsApi:
    """`iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/EMAIL:method`."""

    def __init__(self, *, project: str, identity: Identity, guard: Guard, clock: Clock) -> None:
        self._project = project
        self._identity = identity
        self._guard = guard
        self._clock = clock
        self._methods: dict[str, tuple[str, Callable[[ServiceAccount, _Body], _Body]]] = {
            "generateIdToken": ("iam.serviceAccounts.getOpenIdToken", self._id_token),
            "generateAccessToken": ("iam.serviceAccounts.getAccessToken", self._access_token),
            "signBlob": ("iam.serviceAccounts.signBlob", self._sign_blob),
        }

    def mount(self) -> Mount:
        """Return this API as a web application."""
        base = "/v1/projects/{project}/serviceAccounts/"
        app = Starlette(
            routes=[
                Route(base + "{email}/allowedLocations", self._allowed_locations),
                Route(base + "{email}:{method}", self._call, methods=["POST"]),
            ]
        )
        return Mount(("iamcredentials.googleapis.com",), app, ("/v1/projects/-/serviceAccounts/",))

    async def _allowed_locations(self, _: Request) -> Response:
        # google-auth asks this of every service account in the background; 404 ends its asking.
        return failure(NotFound("Trust boundary not found for the service account."))

    async def _call(self, request: Request) -> Response:
        try:
            permission, method = self._method(request.path_params["method"])
            headers = {key.lower(): value for key, value in request.headers.items()}
            caller = self._identity.caller(headers)
            account = self._identity.account(request.path_params["email"])
            resource = f"projects/{self._project}/serviceAccounts/{account.email}"
            self._guard.require(caller, permission, resource)
            content = await body.read(request, limit=_LARGEST)
            return JSONResponse(dict(method(account, body.parse_object(content))))
        except CloudError as error:
            return failure(error)

    def _method(self, name: str) -> tuple[str, Callable[[ServiceAccount, _Body], _Body]]:
        if name not in self._methods:
            raise NotFound(f"Method {name} is not emulated.")
        return self._methods[name]

    def _id_token(self, account: ServiceAccount, options: _Body) -> _Body:
        audience = options.get("audience")
        if not isinstance(audience, str) or not audience:
            raise InvalidArgument("Request contains an invalid argument: audience is required.")
        full = options.get("includeEmail") is True
        return {"token": self._identity.id_token(account.email, audience, full=full)}

    def _access_token(self, account: ServiceAccount, options: _Body) -> _Body:
        lifetime = _seconds(options.get("lifetime", "3600s"))
        return {
            "accessToken": self._identity.access_token(account.email, lifetime=lifetime),
            "expireTime": rfc3339(self._clock.now() + lifetime)[:19] + "Z",
        }

    def _sign_blob(self, account: ServiceAccount, options: _Body) -> _Body:
        try:
            payload = b64decode(str(options["payload"]), validate=True)
        except (KeyError, Base64Error) as error:
            raise InvalidArgument("payload must be base64.") from error
        key = self._identity.blob_key(account.email)
        return {"keyId": key.kid, "signedBlob": b64encode(key.sign(payload)).decode()}


def _seconds(text: Any) -> float:
    try:
        seconds = float(str(text).removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= _LONGEST_LIFETIME:
        raise InvalidArgument("lifetime must be between 1s and 3600s.")
    return seconds
