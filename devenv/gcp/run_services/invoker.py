"""The invoker check of Cloud Run: whether a request may reach a service's container."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from devenv.gcp.caller import ApiCaller, Guard
from devenv.gcp.config import CloudConfig, ServiceConfig
from devenv.gcp.errors import PermissionDenied
from devenv.gcp.forward.connection import RawHeaders
from devenv.gcp.run_services.pages import ErrorPage, not_authenticated, not_authorized, not_verified

Claims: TypeAlias = Callable[[str], Mapping[str, Any] | None]
"""Returns the claims of an ID token that is genuine and not expired, else None."""

PERMISSION = "run.routes.invoke"

_SERVERLESS = b"x-serverless-authorization"
_REMOVED = b"SIGNATURE_REMOVED_BY_GOOGLE"


class InvocationRefused(Exception):
    """The request goes no further; `page` is the answer."""

    def __init__(self, page: ErrorPage) -> None:
        super().__init__(page.log)
        self.page = page


class Invoker:
    def __init__(
        self, *, config: CloudConfig, guard: Guard, claims: Claims, strip_signature: bool = False
    ) -> None:
        """`strip_signature` hides the signature of Authorization too, as some projects report."""
        self._config = config
        self._guard = guard
        self._claims = claims
        self._stripped = (_SERVERLESS, b"authorization") if strip_signature else (_SERVERLESS,)

    def admit(self, service: ServiceConfig, path: str, headers: RawHeaders) -> RawHeaders:
        """Return the headers as the container sees them. Raises InvocationRefused."""
        if not self._guard.allows(ApiCaller(), PERMISSION, self._name(service)):
            self._check(service, path, headers)
        return [
            (name, _without_signature(value) if name.lower() in self._stripped else value)
            for name, value in headers
        ]

    def _check(self, service: ServiceConfig, path: str, headers: RawHeaders) -> None:
        presented = _values(headers, _SERVERLESS) or _values(headers, b"authorization")
        caller = self._caller(service, path, presented) if presented else ApiCaller()
        name = self._name(service)
        try:
            self._guard.require(caller, PERMISSION, name)
        except PermissionDenied as error:
            if caller.anonymous:
                raise InvocationRefused(not_authenticated(path)) from error
            raise InvocationRefused(
                not_authorized(path, f"{caller.email} on {name}: {PERMISSION}")
            ) from error

    def _name(self, service: ServiceConfig) -> str:
        config = self._config
        return f"projects/{config.project}/locations/{config.region}/services/{service.name}"

    def _caller(self, service: ServiceConfig, path: str, presented: list[bytes]) -> ApiCaller:
        if len(presented) > 1:
            raise InvocationRefused(not_verified(path, "there are two Authorization headers."))
        scheme, _, token = presented[0].decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise InvocationRefused(not_verified(path, "it is not a Bearer token."))
        claims = self._claims(token.strip())
        if claims is None:
            raise InvocationRefused(
                not_verified(path, "it is not a valid ID token, or it has expired.")
            )
        audience = str(claims.get("aud", ""))
        if not is_for(audience, self._config.service_url(service.name)):
            raise InvocationRefused(not_verified(path, f"its audience is {audience[:200]!r}."))
        return ApiCaller(email=str(claims.get("email", "")))


def is_for(audience: str, url: str) -> bool:
    """Return whether the audience is the service's URL, with or without a path."""
    return audience == url or audience.startswith((f"{url}/", f"{url}?"))


def _values(headers: RawHeaders, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]


def _without_signature(value: bytes) -> bytes:
    signed, dot, _ = value.rpartition(b".")
    return signed + dot + _REMOVED if signed.count(b".") == 1 else value
