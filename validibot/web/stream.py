"""The live part of a run's page, as server-sent events.

All who watch a run share one feed: after each change the page is rendered once and sent to everybody.
A feed lives in the event loop of this process from its first watcher to its last.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.template.loader import render_to_string

from validibot.accounts.regions import OrganisationElsewhere
from validibot.accounts.scope import Scope
from validibot.core.asgi import in_thread
from validibot.runs import events
from validibot.web.runs import run_context
from validibot.web.scope import scope_of_page

# Proxies close a connection on which nothing moves.
HEARTBEAT_SECONDS = 15.0
# Stands in the shared page where each watcher's own token belongs.
_TOKEN = "csrf-token-of-the-watcher"  # noqa: S105 - a placeholder


async def run_stream(request: HttpRequest, org: str, pk: UUID) -> HttpResponseBase:
    """Send `run` with the page's live part after each change, and `end` when the run has ended.

    A server without ASGI would hold a thread for every open page and send everything at the end, so
    it answers that there is nothing to stream; people have to load the page again.
    """
    user = await request.auser()
    try:
        scope = await in_thread(scope_of_page)(user, org)
    except OrganisationElsewhere as error:
        raise Http404 from error
    context = await in_thread(run_context)(scope, pk)
    if not isinstance(request, ASGIRequest):
        # https://html.spec.whatwg.org/multipage/server-sent-events.html: do not connect again.
        return HttpResponse(status=204)
    token = get_token(request)
    watched = watch(scope, pk, may_cancel=context["may_cancel"])
    response = StreamingHttpResponse(
        (event.replace(_TOKEN, token) async for event in watched),
        content_type="text/event-stream; charset=utf-8",
    )
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


@dataclass(eq=False)
class Feed:
    """The live part of a run's page, rendered once for all watchers who see the same."""

    scope: Scope
    pk: UUID
    html: str = ""
    ended: bool = False
    watchers: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(self) -> None:
        """Render the page after each change of the run."""
        async for _ in events.changes(self.pk, every=HEARTBEAT_SECONDS):
            html, ended = await in_thread(_render)(self.scope, self.pk)
            async with self.changed:
                self.html, self.ended = html, ended
                self.changed.notify_all()
            if ended:
                return

    async def wait(self, sent: str) -> None:
        """Wait until the page differs from `sent` or the run has ended, or for a heartbeat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS), self.changed:
                await self.changed.wait_for(lambda: self.ended or self.html != sent)


# The page of a user who may cancel the run differs from that of others.
_feeds: dict[tuple[UUID, bool], tuple[Feed, asyncio.Task[None]]] = {}


async def watch(scope: Scope, pk: UUID, *, may_cancel: bool) -> AsyncIterator[str]:
    """Yield an event for each change of the page, and a comment when nothing changes."""
    key = (pk, may_cancel)
    if key not in _feeds:
        feed = Feed(scope, pk)
        _feeds[key] = (feed, asyncio.create_task(feed.follow()))
    feed, task = _feeds[key]
    feed.watchers += 1
    sent = ""
    try:
        while not (feed.ended and sent == feed.html):
            if task.done():
                task.result()  # raises the error that ended it: the browser will connect again
            await feed.wait(sent)
            yield ": no change\n\n" if feed.html == sent else _event("run", feed.html)
            sent = feed.html
        yield _event("end", "")
    finally:
        feed.watchers -= 1
        if not feed.watchers:
            del _feeds[key]
            task.cancel()


def _render(scope: Scope, pk: UUID) -> tuple[str, bool]:
    context = run_context(scope, pk) | {"csrf_token": _TOKEN}
    return render_to_string("web/_run.html", context), context["run"].state == "COMPLETED"


def _event(name: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"
