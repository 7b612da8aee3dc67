"""The metadata server's paths, for as many workloads as there are ports.

After https://cloud.google.com/compute/docs/metadata and the requests of google-auth and gcloud.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import Unavailable
from devenv.gcp.place import LOOPBACK

_BASE = "/computeMetadata/v1/"
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_LIFETIME = 3600
_TEXT = "application/text"
_HTML = "text/html"


type Find = Callable[[str], Awaitable[str | None]]
"""Address → the e-mail of the account whose container has it. Raises Unavailable."""


class Tokens(Protocol):
    """What the server asks of the project's identity."""

    def id_token(self, email: str, audience: str, *, full: bool = True) -> str: ...

    def access_token(self, email: str) -> str: ...


@dataclass(frozen=True, slots=True)
class _Refusal(Exception):
    status: int
    text: str


class MetadataServer:
    """An ASGI application; a request's local port tells which account asks, and `find` knows better.

    A container is who it is by its address, whichever port it has found.
    """

    def __init__(
        self,
        config: CloudConfig,
        tokens: Tokens,
        emails: Mapping[int, str],
        find: Find | None = None,
    ) -> None:
        self._tokens = tokens
        self._emails = emails
        self._find = find
        number = f"projects/{config.number}"
        self._texts: Mapping[str, str] = {
            "": "instance/\nproject/\nuniverse/\n",
            "project/project-id": config.project,
            "project/numeric-project-id": config.number,
            "instance/id": "1",
            "instance/region": f"{number}/regions/{config.region}",
            "instance/zone": f"{number}/zones/{config.region}-1",
            "universe/universe-domain": "googleapis.com",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            response = await self._answer(request)
        except _Refusal as refusal:
            response = Response(refusal.text, refusal.status, media_type=_HTML)
        response.headers["metadata-flavor"] = "Google"
        response.headers["server"] = "Metadata Server for VM"
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = unquote(request.url.path)
        if path in ("", "/"):
            return Response("computeMetadata/\n", media_type=_TEXT)
        _check(request)
        name = path.removeprefix(_BASE)
        if name == path:
            raise _Refusal(404, "Not Found")
        if name.startswith("instance/service-accounts"):
            email = await self._who(request)
            rest = name.removeprefix("instance/service-accounts").removeprefix("/")
            return self._accounts(request, email, rest)
        if name not in self._texts:
            raise _Refusal(404, "Not Found")
        return Response(self._texts[name], media_type=_TEXT)

    async def _who(self, request: Request) -> str:
        address, port = request.scope["client"][0], request.scope["server"][1]
        if self._find and address != LOOPBACK:
            try:
                found = await self._find(address)
            except Unavailable as error:
                raise _Refusal(503, f"{error}\n") from error
            if found:
                return found
        if port not in self._emails:
            raise _Refusal(404, "Not Found")
        return self._emails[port]

    def _accounts(self, request: Request, email: str, rest: str) -> Response:
        recursive = request.query_params.get("recursive", "").lower() == "true"
        summary = {"aliases": ["default"], "email": email, "scopes": list(_SCOPES)}
        if not rest:
            both = {"default": summary, email: summary}
            return JSONResponse(both) if recursive else _lines(f"{name}/" for name in both)
        account, _, item = rest.partition("/")
        if account not in ("default", email):
            raise _Refusal(404, "Not Found")
        if not item and recursive:
            return JSONResponse(summary)
        return self._item(request, email, item)

    def _item(self, request: Request, email: str, item: str) -> Response:
        items: Mapping[str, Callable[[], Response]] = {
            "": lambda: _lines(("aliases", "email", "identity", "scopes", "token")),
            "aliases": lambda: _lines(("default",)),
            "email": lambda: PlainTextResponse(email, media_type=_TEXT),
            "scopes": lambda: _lines(_SCOPES),
            "identity": lambda: self._identity(request, email),
            "token": lambda: self._token(email),
        }
        if item not in items:
            raise _Refusal(404, "Not Found")
        return items[item]()

    def _identity(self, request: Request, email: str) -> Response:
        audience = request.query_params.get("audience", "")
        if not audience:
            raise _Refusal(400, "non-empty audience parameter required\n")
        full = request.query_params.get("format", "standard").lower() == "full"
        token = self._tokens.id_token(email, audience, full=full)
        return Response(token, media_type=_HTML)

    def _token(self, email: str) -> Response:
        answer = {
            "access_token": self._tokens.access_token(email),
            "expires_in": _LIFETIME - 1,
            "token_type": "Bearer",
        }
        return JSONResponse(answer)


def _check(request: Request) -> None:
    """Refuse what a browser or a forwarding proxy could have been tricked into sending."""
    if request.headers.get("metadata-flavor") != "Google":
        raise _Refusal(403, "Missing Metadata-Flavor:Google header.\n")
    if "x-forwarded-for" in request.headers:
        raise _Refusal(403, "X-Forwarded-For header is not allowed.\n")
    if request.method != "GET":
        raise _Refusal(405, "Method Not Allowed\n")


def _lines(names: Iterable[str]) -> Response:
    return Response("".join(f"{name}\n" for name in names), media_type=_TEXT)
