"""The REST side of the same methods: a web application over their HTTP rules."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devenv.gcp.errors import CloudError, InvalidArgument, NotFound, Unimplemented
from devenv.gcp.faults import AnswerLost
from devenv.gcp.rpc import HttpRule, Rpc, body
from devenv.gcp.rpc.calls import Calls, envelope
from devenv.gcp.rpc.transcode import PathTemplate, request as build, response as dump

# google-auth asks for it in the background, and works without it.
_KNOWN_MISS = "/allowedLocations"
_JSON = "application/json; charset=UTF-8"
_LARGEST = 10 << 20
_MOST_PARAMETERS = 1000


@dataclass(frozen=True, slots=True)
class _Route:
    rpc: Rpc
    binding: HttpRule
    template: PathTemplate


class RestApp:
    """An ASGI application that serves `rpcs`."""

    def __init__(self, rpcs: Iterable[Rpc], calls: Calls) -> None:
        self._calls = calls
        self._routes: dict[str, list[_Route]] = {}
        for rpc in rpcs:
            for binding in rpc.bindings:
                route = _Route(rpc, binding, PathTemplate(binding.uri))
                self._routes.setdefault(binding.verb, []).append(route)
        for routes in self._routes.values():
            routes.sort(key=lambda route: not route.template.has_verb)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except AnswerLost:
            await broken_off(send)
            return
        except CloudError as error:
            response = failure(error)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        host = request.headers.get("host", "")
        route, path = self._find(request.method, request.url.path, host)
        query = _query(request)
        content = await body.read(request, limit=_LARGEST) if route.binding.body else b""
        message = await self._calls.run(
            route.rpc,
            _headers(request),
            lambda: build(route.rpc, route.binding, path=path, query=query, body=content),
        )
        numbers = any(k in ("$alt", "alt") and "enum-encoding=int" in v for k, v in query)
        return Response(dump(message, enum_numbers=numbers), media_type=_JSON)

    def _find(self, verb: str, path: str, host: str) -> tuple[_Route, Mapping[str, str]]:
        for route in self._routes.get(verb, ()):
            if (fields := route.template.match(path)) is not None:
                return route, fields
        if not path.endswith(_KNOWN_MISS):
            self._calls.miss(f"{host.partition('.')[0]} {verb} {path[:200]}")
        if path.startswith("/apis/"):
            raise Unimplemented(
                "The v1 API of Cloud Run, which gcloud run speaks, is not emulated. Use the v2 "
                "API, for example google.cloud.run_v2."
            )
        raise NotFound(f"{verb} {path} is not a method of an emulated service.")


async def broken_off(send: Send) -> None:
    """Break a connection off: the server closes it when a promised body does not come."""
    headers = [(b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


def failure(error: CloudError) -> Response:
    """Return `error` as a response of Google's REST APIs."""
    return Response(json.dumps(envelope(error)), error.http, media_type=_JSON)


def _query(request: Request) -> list[tuple[str, str]]:
    try:
        return parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError as error:
        raise InvalidArgument(f"The request has over {_MOST_PARAMETERS} parameters.") from error


def _headers(request: Request) -> dict[str, str]:
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in request.headers.raw}
