"""The events of a run as server-sent events, resumed by `Last-Event-ID`.

https://html.spec.whatwg.org/multipage/server-sent-events.html: each message has the id of its event, so
a client that connects again gets what it missed. A connection is bounded: a user has at most
`MAX_WAITERS_PER_USER` of them for each process, and each ends after `STREAM_SECONDS`. Where the server
cannot keep a connection open, the answer ends at once, so that clients poll by connecting again.
"""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from pydantic import BaseModel, Field
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from validibot.api import schema
from validibot.api.access import find_run, scope_in
from validibot.api.base import ApiView, operation
from validibot.api.event_documents import EventDocument
from validibot.api.launch import WaitSlot
from validibot.api.lists import invalid, query_number
from validibot.core.asgi import in_thread
from validibot.runs import events
from validibot.runs.models import Run, RunEvent
from validibot.runs.states import RUN, terminal

# Proxies close a connection on which nothing moves.
HEARTBEAT_SECONDS = 15.0
STREAM_SECONDS = 600.0
RETRY_MILLISECONDS = 2000
_MEDIA_TYPE = "text/event-stream"
_END = "event: end\ndata: {}\n\n"


class EventMessage(BaseModel):
    """A message of the stream; `data` is the event as JSON, and `{}` in the last one, `end`."""

    event: str
    data: str
    id: str = Field("", description="The id of the event, to connect again with.")


class EventStreamRenderer(JSONRenderer):
    """Lets a request that accepts an event stream in; errors are JSON all the same."""

    media_type = _MEDIA_TYPE


class RunEventStreamView(ApiView):
    """The events of a run as they happen; the last message is `end`."""

    counts_requests = False
    renderer_classes = (JSONRenderer, EventStreamRenderer)

    @operation(
        operation_id="stream_events",
        parameters=[schema.AFTER_EVENT, schema.LAST_EVENT_ID],
        responses=schema.answers(EventMessage, media_type=_MEDIA_TYPE),
    )
    def get(self, request: Request, org: str, run: UUID) -> StreamingHttpResponse:
        scope = scope_in(request, org, "run.view_own")
        found = find_run(scope, run)
        after = _last_event(request)
        if isinstance(request._request, ASGIRequest):  # noqa: SLF001 - the wrapper hides its class
            slot = WaitSlot(scope.user.pk, advice="Ask for `events/?after=ID` instead.")
            response = StreamingHttpResponse(follow(found.pk, after, slot))
        else:
            messages, _ = _messages(found.pk, after)
            response = StreamingHttpResponse([f"retry: {RETRY_MILLISECONDS}\n\n", *messages])
        response.headers["Content-Type"] = f"{_MEDIA_TYPE}; charset=utf-8"
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"
        return response


async def follow(run_id: UUID, after: int, slot: WaitSlot) -> AsyncIterator[str]:
    """Yield the messages of the events behind `after` as they happen, and comments in between."""
    load = in_thread(_messages)
    try:
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        async with asyncio.timeout(STREAM_SECONDS):
            async for _ in events.changes(run_id, every=HEARTBEAT_SECONDS):
                messages, after = await load(run_id, after)
                for message in messages or [": no change\n\n"]:
                    yield message
                if messages and messages[-1] == _END:
                    return
    except TimeoutError:
        return  # the client connects again
    finally:
        slot.release()


def _messages(run_id: UUID, after: int) -> tuple[list[str], int]:
    """Return the messages behind the event `after`, with the end if there is one, and the last id."""
    has_ended = Run.objects.filter(pk=run_id, status__in=terminal(RUN)).exists()
    rows = RunEvent.objects.filter(run=run_id, pk__gt=after).select_related("step_run")
    found = list(rows.order_by("pk"))
    messages = [
        f"id: {event.pk}\nevent: {event.kind}\ndata: {EventDocument.of(event).model_dump_json()}\n\n"
        for event in found
    ]
    return messages + [_END] * has_ended, found[-1].pk if found else after


def _last_event(request: Request) -> int:
    """Return the id of the last event that the client knows, or 0. Raises ApiError."""
    text = request.headers.get("Last-Event-ID", "")
    if not text:
        return query_number(request, "after", maximum=schema.MAX_EVENT) or 0
    if not (
        text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= schema.MAX_EVENT
    ):
        raise invalid("Last-Event-ID", text, "the `id` of an event")
    return int(text)
