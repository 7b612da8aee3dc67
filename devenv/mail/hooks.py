"""A receiver of webhooks on this machine: it takes every message, and a page lists them.

`POST /hooks/<name>` keeps headers and body of the newest messages in the file of the mails and answers
204, or the status in `?status=`, to try what the sender does then. The page shows the beginning of each,
and verifies signatures of Standard
Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
with the secret that is typed there.
"""

import base64
import datetime as dt
import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

MAX_MESSAGES = 200
MAX_BODY_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 20 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024  # of one message
MAX_SHOWN = 64 * 1024  # characters of one body on the page
_SCHEMA = """
CREATE TABLE IF NOT EXISTS hook (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL,
    received TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    status INTEGER NOT NULL
)
"""
_TRIM = """
DELETE FROM hook WHERE place IN (
    SELECT place FROM (
        SELECT place, row_number() OVER newest AS number,
            sum(length(body) + length(headers)) OVER newest AS bytes
        FROM hook WINDOW newest AS (ORDER BY place DESC)
    ) WHERE number > ? OR bytes > ?
)
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Webhooks</title>
<style>
  :root {{ color-scheme: light dark; --ink: #16211f; --soft: #5d6b68; --line: #dfe6e4; --paper: #f6f8f7; --card: #fff;
           --accent: #0f766e; --good: #146c35; --bad: #b42318; }}
  @media (prefers-color-scheme: dark) {{
    :root {{ --ink: #e8efed; --soft: #9aaaa6; --line: #2b3735; --paper: #111817; --card: #19211f;
             --accent: #2dd4bf; --good: #4ade80; --bad: #f98b80; }}
  }}
  a {{ color: var(--accent); }}
  :focus-visible {{ outline: 3px solid var(--accent); outline-offset: 2px; }}
  body {{ background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.2rem; }}
  form {{ display: flex; gap: .6rem; flex-wrap: wrap; align-items: end; margin: 1rem 0; }}
  label {{ font-weight: 600; font-size: .9rem; }}
  input, button {{ font: inherit; padding: .3rem .8rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card); color: var(--ink); }}
  input {{ width: min(28rem, 80vw); }}
  button {{ color: var(--accent); font-weight: 600; cursor: pointer; }}
  details {{ background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem; margin: .6rem 0; }}
  summary {{ cursor: pointer; overflow-wrap: anywhere; }}
  pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, monospace; }}
  .soft {{ color: var(--soft); }} .good {{ color: var(--good); }} .bad {{ color: var(--bad); }}
</style></head><body><main>
<p><a href="/">Mail</a></p>
<h1>Webhooks</h1>
<p>Give a webhook the address <code>{address}</code>; any name does. Add <code>?status=500</code> for a
receiver that fails, <code>?status=410</code> for one that is gone.</p>
<form method="post" action="/hooks">
  <label>Secret of the webhook, to verify signatures<br>
  <input name="secret" value="{secret}" placeholder="whsec_…" autocomplete="off"></label>
  <button>Verify</button><button name="clear" value="1">Delete all</button>
</form>
{messages}
</main></body></html>
"""


@dataclass(frozen=True, slots=True)
class HookMessage:
    """A message as it came, and the status that was answered."""

    path: str
    received: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: int

    def signature(self, secret: str) -> str:
        """Return "verified", "wrong" or, without a signature or secret, ""."""
        headers = dict(self.headers)
        found = headers.get("webhook-signature", "")
        if not (secret and found):
            return ""
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except ValueError:  # no Base64, or no ASCII
            return "wrong"
        name, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        signed = f"{name}.{sent}.".encode() + self.body
        digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        known = [each.partition(",")[2] for each in found.split() if each.startswith("v1,")]
        is_known = any(hmac.compare_digest(digest, each.encode()) for each in known)
        return "verified" if is_known else "wrong"


class HookMessages:
    """The newest messages, in a table of bounded size."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._db.execute(_SCHEMA)

    def add(self, message: HookMessage) -> None:
        """Store a message; the oldest are dropped when there are too many, or too many bytes."""
        headers = json.dumps(message.headers)
        self._db.execute(
            "INSERT INTO hook (path, received, headers, body, status) VALUES (?, ?, ?, ?, ?)",
            (message.path, message.received, headers, message.body, message.status),
        )
        self._db.execute(_TRIM, (MAX_MESSAGES, MAX_TOTAL_BYTES))

    def newest(self) -> Iterator[HookMessage]:
        rows = self._db.execute(
            "SELECT path, received, headers, body, status FROM hook ORDER BY place DESC"
        )
        for path, received, headers, body, status in rows:
            pairs = tuple((name, value) for name, value in json.loads(headers))
            yield HookMessage(path, received, pairs, body, status)

    def clear(self) -> None:
        self._db.execute("DELETE FROM hook")


class HookReceiver:
    """Routes of the receiver and of its page, which runs no script."""

    def __init__(self, messages: HookMessages) -> None:
        self._messages = messages
        self._secret = ""

    def routes(self) -> list[Route]:
        return [
            Route("/hooks", self.page, methods=["GET"]),
            Route("/hooks", self.act, methods=["POST"]),
            Route("/hooks/{name:path}", self.take, methods=["POST"]),
        ]

    async def take(self, request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return PlainTextResponse(f"at most {MAX_BODY_BYTES} bytes are taken", status_code=413)
        wanted = request.query_params.get("status", "204")
        status = int(wanted) if wanted.isdecimal() and len(wanted) == 3 else 0
        if not 200 <= status <= 599:
            return PlainTextResponse("status must be a number from 200 to 599", status_code=400)
        headers = tuple(request.headers.items())
        if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            return PlainTextResponse(
                f"at most {MAX_HEADER_BYTES} bytes of headers", status_code=431
            )
        path = request.url.path
        self._messages.add(HookMessage(path, _now(), headers, body, status))
        return Response(status_code=status)

    async def act(self, request: Request) -> Response:
        form = parse_qs((await _body(request) or b"").decode("utf-8", "replace"))
        self._secret = form.get("secret", [""])[0].strip()[:200]
        if "clear" in form:
            self._messages.clear()
        return RedirectResponse("/hooks", status_code=303)

    async def page(self, request: Request) -> Response:
        shown = "\n".join(_shown(each, self._secret) for each in self._messages.newest())
        text = _PAGE.format(
            address=escape(f"{request.base_url}hooks/try"),
            secret=escape(self._secret),
            messages=shown or '<p class="soft">No message has arrived yet.</p>',
        )
        return HTMLResponse(
            text.encode("utf-8", "replace"),  # JSON may name half a character, "\\ud800"
            headers={
                "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
            },
        )


def _now() -> str:
    return dt.datetime.fromtimestamp(time.time(), dt.UTC).isoformat(sep=" ", timespec="seconds")


async def _body(request: Request) -> bytes | None:
    """Return the body, None if it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


def _indented(document: object) -> str:
    """Return the JSON of a document until it is too long: indents can make it a thousand times so."""
    parts, size = [], 0
    for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(document):
        parts.append(part)
        size += len(part)
        if size > MAX_SHOWN:
            break
    return "".join(parts)


def _shown(message: HookMessage, secret: str) -> str:
    state = message.signature(secret)
    tone = {"verified": "good", "wrong": "bad"}.get(state, "soft")
    text = message.body.decode("utf-8", "replace")
    kind = ""
    try:
        document = json.loads(text)
        text = _indented(document)
        kind = str(document.get("type", "")) if isinstance(document, dict) else ""
    except (ValueError, RecursionError):
        pass
    if len(text) > MAX_SHOWN:
        text = f"{text[:MAX_SHOWN]}\n… and more; the body has {len(message.body):,} bytes"
    headers = "\n".join(f"{name}: {value}" for name, value in message.headers)
    return (
        f"<details><summary><strong>{escape(message.path)}</strong> {escape(kind)}"
        f' <span class="{tone}">signature {state or "not verified"}</span>'
        f' <span class="soft">{message.received} · answered {message.status}</span></summary>'
        f"<pre>{escape(headers)}</pre><pre>{escape(text)}</pre></details>"
    )
