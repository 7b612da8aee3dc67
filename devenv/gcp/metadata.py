"""The metadata server: one identity per port, for as many workloads as there are ports.

After https://cloud.google.com/compute/docs/metadata and the requests of Google's clients for
Python, Go, Node and Java. The values form a tree: a directory is listed by its names, a leaf is
its text, and `recursive=true` answers JSON with camel-case names. A request's local port decides
which account asks; a container is recognised by its address, whatever port it uses.

A page in a browser must not be able to read a token, so three things are refused: a request
without `Metadata-Flavor: Google`, one with `X-Forwarded-For`, and one with a `Host` that is a foreign
name (which was pointed at this address). A number of any network may be that of a forwarded port.
"""

import hashlib
import ipaddress
import json
from asyncio import sleep
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from devenv.gcp.config import LOOPBACK, CloudConfig
from devenv.gcp.errors import CloudError, Unavailable
from devenv.gcp.faults import AnswerLost, Faults
from devenv.gcp.journal import Journal, JournalEntry
from devenv.gcp.rpc.rest import broken_off

HOSTS = frozenset(
    {"metadata.google.internal", "metadata", "169.254.169.254", LOOPBACK, "localhost"}
)
_BASE = "/computeMetadata/v1"
_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
_LIFETIME = 3600
_TEXT = "application/text"
_HTML = "text/html"
# How long a client may wait for a change of what never changes.
_LONGEST_WAIT = 3600.0

Find: TypeAlias = Callable[[str], Awaitable[str | None]]
"""Address → the email of the account whose container has it. Raises Unavailable."""


class MetadataTokens(Protocol):
    """The part of the project's identity that the metadata server needs."""

    def id_token(self, email: str, audience: str, *, full: bool = True) -> str: ...

    def access_token(self, email: str, *, primary: bool) -> str: ...


METHODS = ("metadata.get", "metadata.identity", "metadata.token")


@dataclass(eq=False)
class MetadataRefusal(Exception):
    """Raised for a request that is answered with an error."""

    status: int
    text: str


class MetadataServer:
    """An ASGI application. `emails` maps local ports to accounts; `find` knows containers.

    `hosts` are the names and addresses, beside Google's own, under which clients find it.
    """

    def __init__(  # noqa: PLR0913 - the parts of the server, by name
        self,
        config: CloudConfig,
        tokens: MetadataTokens,
        emails: Mapping[int, str],
        find: Find | None = None,
        *,
        journal: Journal,
        faults: Faults,
        hosts: Collection[str] = (),
    ) -> None:
        self._tokens = tokens
        self._emails = emails
        self._find = find
        self._journal = journal
        self._faults = faults
        self._hosts = HOSTS | {host.lower() for host in hosts}
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            response = await self._answer(request)
        except AnswerLost:
            await broken_off(send)
            return
        except MetadataRefusal as refusal:
            response = Response(refusal.text, refusal.status, media_type=_HTML)
        except CloudError as error:  # an account that is disabled
            response = Response(f"{error}\n", error.http, media_type=_HTML)
        response.headers["metadata-flavor"] = "Google"
        response.headers["server"] = "Metadata Server for VM"
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = unquote(request.url.path)
        last = path.rstrip("/").rpartition("/")[2]
        action = last if last in ("token", "identity") else "get"
        with self._journal.entry(f"metadata.{action}", path[:500]) as entry:
            try:
                response = await self._checked_answer(request, path, entry)
            except CloudError as error:
                entry.status = str(error.http)
                raise
            except MetadataRefusal as refusal:
                entry.status = str(refusal.status)
                raise
            entry.status = str(response.status_code)
            return response

    async def _checked_answer(self, request: Request, path: str, entry: JournalEntry) -> Response:
        self._check_host(request)
        if path in ("", "/"):
            return Response("computeMetadata/\n", media_type=_TEXT)
        _check(request)
        if path != _BASE and not path.startswith(f"{_BASE}/"):
            raise MetadataRefusal(404, "Not Found")
        names = [name for name in path.removeprefix(_BASE).split("/") if name]
        entry.caller = email = await self._email(request)
        async with self._faults.strike(entry):
            return await self._value(request, names, email)

    async def _value(self, request: Request, names: list[str], email: str) -> Response:
        match names:
            case ["instance", "service-accounts", account, "token" | "identity" as action] if (
                email and account in ("default", email)
            ):
                return self._mint(request.query_params, action, email)
        node: Any = self._tree(email)
        for name in names:
            if not isinstance(node, dict) or name not in node:
                raise MetadataRefusal(404, "Not Found")
            node = node[name]
        return await _render(node, request.query_params)

    def _check_host(self, request: Request) -> None:
        host = request.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]")
        if name not in self._hosts and not _is_address(name):
            raise MetadataRefusal(403, f"Host {host[:200]!r} is not the metadata server's.\n")

    async def _email(self, request: Request) -> str:
        """Return the account that asks; "" if this port belongs to none."""
        address, port = request.scope["client"][0], request.scope["server"][1]
        if self._find and address != LOOPBACK:
            try:
                found = await self._find(address)
            except Unavailable as error:
                raise MetadataRefusal(503, f"{error}\n") from error
            if found:
                return found
        return self._emails.get(port, "")

    def _tree(self, email: str) -> dict[str, Any]:
        """Return every value that the account can read; a directory is a dict."""
        config, number = self._config, f"projects/{self._config.number}"
        account: dict[str, Any] = {"aliases": ["default"], "email": email, "scopes": _SCOPES}
        # Tokens are listed, and left out of a recursive answer as by Google.
        account |= {"identity": None, "token": None}
        return {
            "instance": {
                "attributes": {},
                "id": 1,
                "region": f"{number}/regions/{config.region}",
                "service-accounts": {"default": account, email: account} if email else {},
                "zone": f"{number}/zones/{config.region}-1",
            },
            "project": {
                "attributes": {},
                "numeric-project-id": int(config.number),
                "project-id": config.project,
            },
            "universe": {"universe-domain": "googleapis.com"},
        }

    def _mint(self, query: QueryParams, action: str, email: str) -> Response:
        if action == "token":
            answer = {
                "access_token": self._tokens.access_token(email, primary=True),
                "expires_in": _LIFETIME - 1,
                "token_type": "Bearer",
            }
            return JSONResponse(answer)
        audience = query.get("audience", "")
        if not audience:
            raise MetadataRefusal(400, "non-empty audience parameter required\n")
        full = query.get("format", "standard").lower() == "full"
        return Response(self._tokens.id_token(email, audience, full=full), media_type=_HTML)


async def _render(node: Any, query: QueryParams) -> Response:
    """Return a leaf, a listing, or with `recursive=true` all below a directory."""
    recursive = query.get("recursive", "").lower() == "true"
    form = query.get("alt", "json" if recursive else "text").lower()
    if form not in ("json", "text"):
        raise MetadataRefusal(400, "alt must be json or text.\n")
    if isinstance(node, dict) and not recursive:
        text = "".join(
            f"{name}/\n" if isinstance(node[name], dict) else f"{name}\n" for name in node
        )
        form = "text"
    elif form == "text":
        text = "".join(f"{line}\n" for line in _lines(node)) if recursive else _leaf(node)
    else:
        text = json.dumps(_camel(node))
    etag = hashlib.sha256(text.encode()).hexdigest()[:16]
    if query.get("wait_for_change", "").lower() == "true" and query.get("last_etag", etag) == etag:
        await sleep(_wait(query))
    kind = PlainTextResponse if form == "text" else Response
    media_type = _TEXT if form == "text" else "application/json"
    return kind(text, media_type=media_type, headers={"etag": etag})


def _wait(query: QueryParams) -> float:
    text = query.get("timeout_sec", "") or "0"
    if not (text.isascii() and text.isdigit()):
        raise MetadataRefusal(400, "timeout_sec must be a number of seconds.\n")
    return min(float(text), _LONGEST_WAIT) or _LONGEST_WAIT


def _leaf(value: Any) -> str:
    return "".join(f"{item}\n" for item in value) if isinstance(value, list) else str(value)


def _lines(node: Any, path: str = "") -> Iterator[str]:
    """Yield `path value` for every leaf, as `recursive=true&alt=text` shows them."""
    if isinstance(node, dict):
        for name, value in node.items():
            if value is not None:
                yield from _lines(value, f"{path}/{name}" if path else name)
    else:
        for value in node if isinstance(node, list) else [node]:
            yield f"{path} {value}".strip()


def _camel(node: Any) -> Any:
    """Return JSON with Google's names: `service-accounts` becomes `serviceAccounts`."""
    if not isinstance(node, dict):
        return node
    return {_name(key): _camel(value) for key, value in node.items() if value is not None}


def _name(key: str) -> str:
    if "@" in key:
        return key
    first, *rest = key.split("-")
    return first + "".join(word.capitalize() for word in rest)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check(request: Request) -> None:
    if request.headers.get("metadata-flavor") != "Google":
        raise MetadataRefusal(403, "Missing Metadata-Flavor:Google header.\n")
    if "x-forwarded-for" in request.headers:
        raise MetadataRefusal(403, "X-Forwarded-For header is not allowed.\n")
    if request.method != "GET":
        raise MetadataRefusal(405, "Method Not Allowed\n")
