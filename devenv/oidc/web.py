"""HTTP side of the OpenID Connect provider: discovery, sign-in page, tokens, claims, keys.

The page asks for no password: whoever reaches it signs in as anybody. So only this machine reaches
it, and requests of pages of other sites are refused by their Host and Origin.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from devenv.local_only import LocalOnly
from devenv.oidc.provider import AuthorizationRequest, OidcError, OidcProvider, Person

_MOST_BODY = 64 * 1024
_LONGEST = {"email": 254, "name": 150}
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)


def app(provider: OidcProvider, people: tuple[Person, ...]) -> Starlette:
    """Return the application, which answers requests of this machine only."""
    return Starlette(
        routes=OidcPages(provider, people).routes(),
        middleware=[Middleware(LocalOnly)],
        exception_handlers={OidcError: _error},
    )


class OidcPages:
    """Routes of one provider."""

    def __init__(self, provider: OidcProvider, people: tuple[Person, ...]) -> None:
        self._provider = provider
        self._people = people

    def routes(self) -> list[Route]:
        return [
            Route("/", self.about),
            Route("/health", self.health),
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/jwks", self.jwks),
            Route("/authorize", self.authorize, methods=["GET"]),
            Route("/authorize", self.decide, methods=["POST"]),
            Route("/token", self.token, methods=["POST"]),
            Route("/userinfo", self.userinfo, methods=["GET", "POST"]),
        ]

    async def about(self, request: Request) -> Response:
        return self._page(client=self._provider.client.id)

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def discovery(self, request: Request) -> Response:
        return JSONResponse(self._provider.discovery())

    async def jwks(self, request: Request) -> Response:
        return JSONResponse(self._provider.jwks())

    async def authorize(self, request: Request) -> Response:
        """Show the people to choose from, or the error of the request."""
        asked = self._read(dict(request.query_params))
        if isinstance(asked, Response):
            return asked
        if "none" in request.query_params.get("prompt", "").split():
            return self._redirect(asked, error="login_required")
        return self._page(asked=asked, people=self._people)

    async def decide(self, request: Request) -> Response:
        """Send the client a code for the chosen person, or the refusal."""
        own = f"http://{request.headers.get('host', '')}"
        if request.headers.get("origin", own) != own:
            return PlainTextResponse("The form is not a page of this provider.\n", status_code=403)
        form = await _form(request)
        asked = self._read(form)
        if isinstance(asked, Response):
            return asked
        if form.get("decision") == "cancel":
            return self._redirect(asked, error="access_denied")
        person = _person(form)
        if isinstance(person, str):
            return self._page(asked=asked, people=self._people, error=person, status=422)
        return self._redirect(asked, code=self._provider.issue_code(asked, person))

    async def token(self, request: Request) -> Response:
        form = await _form(request)
        self._provider.authenticate_client(*_credentials(request, form))
        return JSONResponse(self._provider.redeem(form), headers=_NO_STORE)

    async def userinfo(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        claims = self._provider.userinfo(token.strip() if scheme.lower() == "bearer" else "")
        return JSONResponse(claims, headers=_NO_STORE)

    def _read(self, given: Mapping[str, str]) -> AuthorizationRequest | Response:
        """Return the request, or the answer to a wrong one.

        An unknown client or address gets no redirect: it would lead anywhere (RFC 6749, 4.1.2.1).
        """
        client, address = self._provider.client, given.get("redirect_uri", "")
        if given.get("client_id") != client.id:
            text = f"client_id is {given.get('client_id', '')[:100]!r}; it must be {client.id!r}."
            return self._page(error=text, status=400)
        if address not in client.redirect_uris:
            text = (
                f"redirect_uri is {address[:200]!r}; {', '.join(client.redirect_uris)} is allowed."
            )
            return self._page(error=text, status=400)
        asked = AuthorizationRequest(
            client_id=client.id,
            redirect_uri=address,
            code_challenge=given.get("code_challenge", ""),
            state=given.get("state", ""),
            nonce=given.get("nonce", ""),
            login_hint=given.get("login_hint", ""),
        )
        problem = _problem(given)
        return self._redirect(asked, **problem) if problem else asked

    def _redirect(self, asked: AuthorizationRequest, **answer: str) -> Response:
        answer |= {"iss": self._provider.issuer}
        if asked.state:
            answer["state"] = asked.state
        mark = "&" if urlsplit(asked.redirect_uri).query else "?"
        return RedirectResponse(
            f"{asked.redirect_uri}{mark}{urlencode(answer)}", status_code=303, headers=_NO_STORE
        )

    def _page(self, *, status: int = 200, **values: object) -> Response:
        html = _templates.get_template("page.html").render(values)
        # A form leads back to the client: browsers check its redirect, too.
        clients = " ".join({_origin(uri) for uri in self._provider.client.redirect_uris})
        policy = (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
            f"frame-ancestors 'none'; form-action 'self' {clients}"
        )
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
        return HTMLResponse(html, status, headers | _NO_STORE)


def _problem(given: Mapping[str, str]) -> dict[str, str]:
    """Return the error that the client is told of its request, {} without one."""
    if given.get("response_type") != "code":
        return {"error": "unsupported_response_type"}
    if "openid" not in given.get("scope", "").split():
        return {"error": "invalid_scope"}
    if not given.get("code_challenge") or given.get("code_challenge_method") != "S256":
        return {"error": "invalid_request", "error_description": "PKCE with S256 is required."}
    return {}


def _origin(url: str) -> str:
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc}"


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form, each with its first value. Raises OidcError if it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BODY:
            raise OidcError("invalid_request", "The form is too long.", status=413)
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError as error:
        raise OidcError("invalid_request", "The form cannot be read.") from error
    return {name: values[0] for name, values in fields.items()}


def _credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    """Return id and secret of the client, from the header or the form (RFC 6749, section 2.3.1)."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise OidcError("invalid_client", "The header cannot be read.", status=401) from error
    return unquote(name), unquote(secret)


def _person(form: Mapping[str, str]) -> Person | str:
    """Return the person of the form, or what is wrong with it."""
    email, name = form.get("email", "").strip(), form.get("name", "").strip()
    for field, value in (("email", email), ("name", name)):
        if len(value) > _LONGEST[field]:
            return f"The {field} has {len(value)} characters; {_LONGEST[field]} are allowed."
        if not value.isprintable():
            return f"The {field} has characters that cannot be shown."
    local, _, domain = email.rpartition("@")
    if not local or not domain or " " in email:
        return f"{email!r} is not an email address."
    return Person(email=email, name=name, email_verified=form.get("email_verified") == "on")


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OidcError)
    headers = dict(_NO_STORE)
    if error.status == 401:
        scheme = "Bearer" if error.code == "invalid_token" else "Basic"
        headers["WWW-Authenticate"] = f'{scheme} error="{error.code}"'
    body = {"error": error.code, "error_description": str(error)}
    return JSONResponse(body, error.status, headers)
