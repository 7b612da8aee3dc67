"""Google's own answers in place of a service's: small HTML pages, with a line for the log."""

from dataclasses import dataclass
from html import escape

_PAGE = """
<html><head>
<meta http-equiv="content-type" content="text/html;charset=utf-8">
<title>{status} {title}</title>
</head>
<body text=#000000 bgcolor=#ffffff>
<h1>Error: {title}</h1>
<h2>{text}</h2>
<h2></h2>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class ErrorPage:
    status: int
    title: str
    text: str
    log: str
    challenge: str = ""

    @property
    def body(self) -> bytes:
        return _PAGE.format(status=self.status, title=self.title, text=self.text).encode()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        found = [
            (b"content-type", b"text/html; charset=UTF-8"),
            (b"content-length", str(len(self.body)).encode()),
        ]
        if self.challenge:
            found.append((b"www-authenticate", self.challenge.encode()))
        return found


def not_authenticated(path: str) -> ErrorPage:
    return _forbidden(
        path,
        "The request was not authenticated. Either allow public access "
        "or set the proper Authorization header.",
    )


def not_authorized(path: str, permission: str) -> ErrorPage:
    return _forbidden(
        path, f"The request was not authorized to invoke this service: {permission} is missing."
    )


def not_verified(path: str, reason: str) -> ErrorPage:
    return ErrorPage(
        401,
        "Unauthorized",
        "Your client does not have permission to the requested URL "
        f"<code>{escape(path[:500])}</code>.",
        "The request was not authorized to invoke this service. "
        f"The access token could not be verified: {reason}",
        challenge='Bearer error="invalid_token" '
        'error_description="The access token could not be verified"',
    )


def no_service(path: str) -> ErrorPage:
    return ErrorPage(
        404,
        "Page not found",
        f"The requested URL <code>{escape(path[:500])}</code> was not found on this server.",
        "No service has this host name.",
    )


def unavailable(reason: str) -> ErrorPage:
    return ErrorPage(
        503,
        "Server Error",
        "The service you requested is not available yet.<p>Please try again in 30 seconds.",
        f"The request failed because the instance did not answer: {reason}",
    )


def no_instance() -> ErrorPage:
    text = "The request was aborted because there was no available instance."
    return ErrorPage(429, "Too Many Requests", "Rate exceeded.", text)


def not_started(reason: str) -> ErrorPage:
    return ErrorPage(
        500,
        "Server Error",
        "The server encountered an error and could not complete your request."
        "<p>Please try again in 30 seconds.",
        f"The request failed because the instance could not start successfully: {reason}",
    )


def timed_out(seconds: float) -> ErrorPage:
    return ErrorPage(
        504,
        "Server Error",
        "upstream request timeout",
        "The request has been terminated because it has reached "
        f"the maximum request timeout of {seconds:g} seconds.",
    )


def _forbidden(path: str, log: str) -> ErrorPage:
    return ErrorPage(
        403,
        "Forbidden",
        f"Your client does not have permission to get URL <code>{escape(path[:500])}</code> "
        "from this server.",
        log,
    )
