"""Access to the console: the token of the link, the session that follows, and proof for forms.

The link that `devenv open console` prints has the token. It becomes a cookie, which other programs
on this machine may see too if they serve pages on localhost: cookies know no ports. So a form must
also carry a second proof, and its Origin must be the console's own.
"""

import hmac
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATHS = ("/health", "/static/")
_SAFE = ("GET", "HEAD")
_MONTH = 30 * 86400
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_CLOSED = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Console</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/console.css"></head>
<body><main><h1>The console needs its link</h1>
<p class="lead">The link with the token is in the output of <code>devenv open console</code> and of
<code>devenv status</code>.</p></main></body></html>
"""


class ConsoleGate:
    """Middleware that lets requests with a session pass, and makes one for the right token."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._token = token
        # Several consoles on localhost, whatever their ports, must not share a cookie.
        self._name = f"devenv_console_{proof(token, 'cookie')[:12]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(OPEN_PATHS):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if response := self._respond(request):
            response.headers.update(HEADERS)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _respond(self, request: Request) -> Response | None:
        """Return the answer to a request that does not get through."""
        given = request.query_params.get("token", "")
        if given and request.method in _SAFE:
            if not _equal(given, self._token):
                return HTMLResponse(_CLOSED, 403)
            pairs = parse_qsl(request.url.query, keep_blank_values=True)
            rest = urlencode([pair for pair in pairs if pair[0] != "token"])
            # Never `//host`, which a browser takes for another site.
            path = "/" + request.url.path.lstrip("/")
            response = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
            response.set_cookie(
                self._name,
                proof(self._token, "session"),
                max_age=_MONTH,
                httponly=True,
                samesite="lax",
            )
            return response
        if not _equal(request.cookies.get(self._name, ""), proof(self._token, "session")):
            return HTMLResponse(_CLOSED, 403)
        origin = request.headers.get("origin", "")
        if origin and origin != f"http://{request.headers.get('host', '')}":
            return HTMLResponse(_CLOSED, 403)
        return None


def proof(token: str, purpose: str) -> str:
    """Return a text that only the holder of the token can make, one for each purpose."""
    return hmac.digest(token.encode(), purpose.encode(), "sha256").hex()


def is_proof(given: str, token: str, purpose: str) -> bool:
    return _equal(given, proof(token, purpose))


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
