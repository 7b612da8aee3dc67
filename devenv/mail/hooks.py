"""A receiver of webhooks on this machine: it takes every message, and a page lists them.

`POST /hooks/<name>` keeps headers and body of the newest messages in memory and answers 204, or the
status in `?status=`, to try what the sender does then. The page verifies signatures of Standard
Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
with the secret that is typed there.
"""

import base64
import datetime as dt
import hashlib
import hmac
import json
import time
from collections import deque
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

MAX_MESSAGES = 200
MAX_BODY_BYTES = 1024 * 1024
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Webhooks</title>
<style>
  :root {{ color-scheme: light dark; --line: #8883; --soft: #6b6b6b; --good: #1f7a4d; --bad: #b3261e; }}
  @media (prefers-color-scheme: dark) {{ :root {{ --soft: #a0a0a0; --good: #7ad3a4; --bad: #ff9d94; }} }}
  body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.2rem; }}
  form {{ display: flex; gap: .6rem; flex-wrap: wrap; align-items: end; margin: 1rem 0; }}
  input {{ font: inherit; padding: .25rem .5rem; width: min(28rem, 80vw); }}
  button {{ font: inherit; padding: .25rem .8rem; }}
  details {{ border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem; margin: .6rem 0; }}
  summary {{ cursor: pointer; overflow-wrap: anywhere; }}
  pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, monospace; }}
  .soft {{ color: var(--soft); }} .good {{ color: var(--good); }} .bad {{ color: var(--bad); }}
</style></head><body><main>
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


class HookReceiver:
    """Routes of the receiver and of its page, which runs no script."""

    def __init__(self) -> None:
        self._messages: deque[HookMessage] = deque(maxlen=MAX_MESSAGES)
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
        path = request.url.path
        self._messages.appendleft(HookMessage(path, _now(), headers, body, status))
        return Response(status_code=status)

    async def act(self, request: Request) -> Response:
        form = parse_qs((await _body(request) or b"").decode("utf-8", "replace"))
        self._secret = form.get("secret", [""])[0].strip()[:200]
        if "clear" in form:
            self._messages.clear()
        return RedirectResponse("/hooks", status_code=303)

    async def page(self, request: Request) -> Response:
        shown = "\n".join(_shown(each, self._secret) for each in self._messages)
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


def _shown(message: HookMessage, secret: str) -> str:
    state = message.signature(secret)
    tone = {"verified": "good", "wrong": "bad"}.get(state, "soft")
    text = message.body.decode("utf-8", "replace")
    kind = ""
    try:
        document = json.loads(text)
        text = json.dumps(document, indent=2, ensure_ascii=False)
        kind = str(document.get("type", "")) if isinstance(document, dict) else ""
    except (ValueError, RecursionError):
        pass
    headers = "\n".join(f"{name}: {value}" for name, value in message.headers)
    return (
        f"<details><summary><strong>{escape(message.path)}</strong> {escape(kind)}"
        f' <span class="{tone}">signature {state or "not verified"}</span>'
        f' <span class="soft">{message.received} · answered {message.status}</span></summary>'
        f"<pre>{escape(headers)}</pre><pre>{escape(text)}</pre></details>"
    )
