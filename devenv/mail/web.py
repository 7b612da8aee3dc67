"""HTTP side of the mail catcher: Mailpit's REST API, one page, and the receiver of webhooks.

The API has the paths, names and shapes of Mailpit for what test suites use. Mails hold sign-in
links, so that pages of other sites cannot reach the catcher (`devenv.local_only`).
"""

import base64
import datetime as dt
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from devenv.local_only import LocalOnly
from devenv.mail.hooks import HookMessages, HookReceiver
from devenv.mail.mailbox import Mail, Mailbox, MailPart

_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_MOST_BODY = 64 * 1024
_PAGE = Path(__file__).with_name("page.html")
# No scripts, nothing loaded from elsewhere; links open in a tab of their own.
_BOX = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; "
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
)
# The inbox has one script and one style, both in the page.
_INBOX = (
    "default-src 'none'; script-src 'sha256-{}'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEAD = '<base target="_blank"><style>body { margin: 1.5rem }</style>'


def app(mailbox: Mailbox, *, hosts: Iterable[str] = ()) -> Starlette:
    """Return the application; `hosts` are names of this machine besides localhost."""
    return Starlette(
        routes=[
            *MailPage(mailbox).routes(),
            *MailApi(mailbox).routes(),
            *HookReceiver(HookMessages(mailbox.connection)).routes(),
        ],
        middleware=[Middleware(LocalOnly, hosts=hosts)],
    )


class MailApi:
    """Routes of the REST API over one mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def routes(self) -> list[Route]:
        return [
            Route("/livez", _ok),
            Route("/readyz", _ok),
            Route("/events", self.events),
            Route("/api/v1/info", self.info),
            Route("/api/v1/messages", self.messages, methods=["GET"]),
            Route("/api/v1/messages", self.delete, methods=["DELETE"]),
            Route("/api/v1/message/{id}", self.message),
            Route("/api/v1/message/{id}/headers", self.headers),
            Route("/api/v1/message/{id}/raw", self.raw),
            Route("/api/v1/message/{id}/part/{number:int}", self.part),
        ]

    async def info(self, request: Request) -> Response:
        total, unread = self._mailbox.counts()
        return JSONResponse({"Version": "devenv", "Messages": total, "Unread": unread, "Tags": {}})

    async def messages(self, request: Request) -> Response:
        try:
            start = max(int(request.query_params.get("start", 0)), 0)
            limit = min(max(int(request.query_params.get("limit", 50)), 0), 1000)
        except ValueError:
            return _error("start and limit must be numbers", 400)
        total, unread = self._mailbox.counts()
        found = self._mailbox.newest(start=min(start, total), limit=limit)
        return JSONResponse(
            {
                "total": total,
                "unread": unread,
                "count": len(found),
                "messages_count": total,
                "messages_unread": unread,
                "start": start,
                "tags": [],
                "messages": [summary(mail) for mail in found],
            }
        )

    async def delete(self, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_BODY:
                return _error("the list of IDs is too long", 413)
        try:
            names = json.loads(body or b"{}").get("IDs") or []
            self._mailbox.delete([str(name) for name in names])
        except (ValueError, AttributeError, TypeError, RecursionError):
            return _error('the body must be {"IDs": ["…"]}, or empty', 400)
        return PlainTextResponse("ok")

    async def message(self, request: Request) -> Response:
        mail = self._find(request)
        if not mail:
            return _not_found()
        self._mailbox.mark_read(mail.id)
        return JSONResponse(detail(mail))

    async def headers(self, request: Request) -> Response:
        mail = self._find(request)
        return JSONResponse(mail.message.headers()) if mail else _not_found()

    async def raw(self, request: Request) -> Response:
        mail = self._find(request)
        return PlainTextResponse(mail.message.raw) if mail else _not_found()

    async def part(self, request: Request) -> Response:
        mail = self._find(request)
        parts = mail.message.parts if mail else ()
        number = request.path_params["number"]
        if not 0 < number <= len(parts):
            return _not_found()
        # As a download that no browser runs in our origin, whatever type the sender chose.
        return Response(
            parts[number - 1].content,
            media_type="application/octet-stream",
            headers={"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"},
        )

    async def events(self, request: Request) -> Response:
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        changed = self._mailbox.listen()
        try:
            yield "retry: 1000\n\n"
            while True:
                await changed.wait()
                changed.clear()
                yield "data: changed\n\n"
        finally:
            self._mailbox.forget(changed)

    def _find(self, request: Request) -> Mail | None:
        return self._mailbox.get(request.path_params["id"])


class MailPage:
    """Routes of the inbox in a browser; the HTML of a mail is shown in a sandbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._html = _PAGE.read_text(encoding="utf-8")
        script = self._html.partition("<script>")[2].partition("</script>")[0]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        self._headers = {"Content-Security-Policy": _INBOX.format(digest), **_SAFE}

    def routes(self) -> list[Route]:
        return [Route("/", self.inbox), Route("/view/{id}", self.view)]

    async def inbox(self, request: Request) -> Response:
        return HTMLResponse(self._html, headers=self._headers)

    async def view(self, request: Request) -> Response:
        """Send the HTML of a mail for the frame of the inbox; in a tab of its own, lead to the inbox."""
        mail = self._mailbox.get(request.path_params["id"])
        if not mail:
            return PlainTextResponse("message not found", status_code=404)
        if request.headers.get("sec-fetch-dest") == "document":
            return RedirectResponse(f"/#{mail.id}", 303)
        headers = {"Content-Security-Policy": _BOX, **_SAFE}
        return HTMLResponse(_HEAD + mail.message.html, headers=headers)


def summary(mail: Mail) -> dict[str, Any]:
    """Return a line of the list."""
    message = mail.message
    return {
        "ID": mail.id,
        "MessageID": message.header("Message-ID").strip("<>"),
        "Read": mail.read,
        **_people(mail),
        "Subject": message.header("Subject"),
        "Created": _moment(mail.received),
        "Username": "",
        "Tags": [],
        "Size": len(message.raw),
        "Attachments": len(message.attachments),
        "Snippet": message.snippet,
    }


def detail(mail: Mail) -> dict[str, Any]:
    """Return a whole mail."""
    message = mail.message
    return {
        "ID": mail.id,
        "MessageID": message.header("Message-ID").strip("<>"),
        **_people(mail),
        "ReturnPath": mail.sender,
        "Subject": message.header("Subject"),
        "ListUnsubscribe": {"Errors": "", "Header": "", "HeaderPost": "", "Links": []},
        "Date": message.date() or _moment(mail.received),
        "Tags": [],
        "Username": "",
        "Text": message.text,
        "HTML": message.html,
        "Size": len(message.raw),
        "Inline": [_file(part) for part in message.inline],
        "Attachments": [_file(part) for part in message.attachments],
    }


def _people(mail: Mail) -> dict[str, Any]:
    message = mail.message
    to, cc = message.addresses("To"), message.addresses("Cc")
    named = {person["Address"].lower() for person in (*to, *cc)}
    blind = [one for one in mail.recipients if one and one.lower() not in named]
    return {
        "From": next(iter(message.addresses("From")), {"Name": "", "Address": mail.sender}),
        "To": to,
        "Cc": cc,
        "Bcc": [{"Name": "", "Address": address} for address in blind],
        "ReplyTo": message.addresses("Reply-To"),
    }


def _file(part: MailPart) -> dict[str, Any]:
    return {
        "PartID": str(part.number),
        "FileName": part.filename,
        "ContentType": part.content_type,
        "ContentID": part.content_id,
        "Size": len(part.content),
        "Checksums": part.checksums(),
    }


def _moment(received: float) -> str:
    return dt.datetime.fromtimestamp(received, dt.UTC).isoformat().replace("+00:00", "Z")


async def _ok(request: Request) -> Response:
    return PlainTextResponse("ok")


def _error(text: str, status: int) -> Response:
    return JSONResponse({"Error": text}, status_code=status)


def _not_found() -> Response:
    return _error("message not found", 404)
