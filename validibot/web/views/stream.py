"""The live part of a run's page, as server-sent events."""

from collections.abc import AsyncIterator
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.template.loader import render_to_string

from validibot.accounts.scope import Scope
from validibot.core.asgi import in_thread
from validibot.runs import events
from validibot.web.runs import run_context
from validibot.web.scope import scope_of_page

# Proxies close a connection on which nothing moves.
HEARTBEAT_SECONDS = 15.0


async def run_stream(request: HttpRequest, org: str, pk: UUID) -> HttpResponseBase:
    """Send `run` with the page's live part after each change, and `end` when the run has ended.

    A server without ASGI would hold a thread for every page that is open, and send all in the end: it
    says that there is nothing to come, and pages have to be loaded again.
    """
    user = await request.auser()
    scope = await in_thread(scope_of_page)(user, org)
    await in_thread(run_context)(scope, pk)
    if not isinstance(request, ASGIRequest):
        # https://html.spec.whatwg.org/multipage/server-sent-events.html: do not connect again.
        return HttpResponse(status=204)
    response = StreamingHttpResponse(
        _events(request, scope, pk), content_type="text/event-stream; charset=utf-8"
    )
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def _events(request: HttpRequest, scope: Scope, pk: UUID) -> AsyncIterator[str]:
    # One for all: each would look different, and so would an unchanged page.
    token = get_token(request)
    shown = ""
    async for _ in events.changes(pk, every=HEARTBEAT_SECONDS):
        html, ended = await in_thread(_render)(scope, pk, token)
        yield _event("run", html) if html != shown else ": still here\n\n"
        shown = html
        if ended:
            yield _event("end", "")
            return


def _render(scope: Scope, pk: UUID, token: str) -> tuple[str, bool]:
    context = run_context(scope, pk) | {"csrf_token": token}
    html = render_to_string("web/_run.html", context)
    return html, context["run"].state == "COMPLETED"


def _event(name: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"
