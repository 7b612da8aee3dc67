"""The invoker check of Cloud Run: whether a request may reach a service's container."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from devenv.gcp.caller import ApiCaller, Guard
from devenv.gcp.errors import PermissionDenied
from devenv.gcp.forward.connection import RawHeaders
from devenv.gcp.journal import note_decision
from devenv.gcp.run_services.pages import ErrorPage, not_authenticated, not_authorized, not_verified
from devenv.gcp.run_services.routing import ServedHost

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
    """Admits requests to services that are public, or whose invoker the caller is."""

    def __init__(self, *, guard: Guard, claims: Claims, strip_signature: bool = False) -> None:
        """`strip_signature` hides the signature of Authorization too, as some projects report."""
        self._guard = guard
        self._claims = claims
        self._stripped = (_SERVERLESS, b"authorization") if strip_signature else (_SERVERLESS,)

    def admit(self, served: ServedHost, path: str, headers: RawHeaders) -> RawHeaders:
        """Return the headers as the container sees them. Raises InvocationRefused."""
        is_public = served.is_open or self._guard.allows(ApiCaller(), PERMISSION, served.service)
        if is_public:
            note_decision(PERMISSION, served.service, allowed=True)
        else:
            self._check(served, path, headers)
        return [
            (name, _without_signature(value) if name.lower() in self._stripped else value)
            for name, value in headers
        ]

    def _check(self, served: ServedHost, path: str, headers: RawHeaders) -> None:
        presented = _values(headers, _SERVERLESS) or _values(headers, b"authorization")
        caller = self._caller(served, path, presented) if presented else ApiCaller()
        name = served.service
        try:
            self._guard.require(caller, PERMISSION, name)
        except PermissionDenied as error:
            if caller.anonymous:
                raise InvocationRefused(not_authenticated(path)) from error
            raise InvocationRefused(
                not_authorized(path, f"{caller.email} on {name}: {PERMISSION}")
            ) from error

    def _caller(self, served: ServedHost, path: str, presented: list[bytes]) -> ApiCaller:
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
        if not any(is_for(audience, each) for each in served.audiences):
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
