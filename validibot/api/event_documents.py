"""The documents of a run's events, and of the reason why it has not ended."""

import datetime as dt
from typing import Any, Self

from pydantic import BaseModel, JsonValue

from validibot.api.documents import ListPage
from validibot.api.run_documents import RunState
from validibot.runs.models import Run, RunEvent
from validibot.runs.progress import progress_of


class EventDocument(BaseModel):
    """An event of a run; `step` is the order of the step that it is about."""

    id: int
    at: dt.datetime
    kind: str
    step: int | None
    actor: str
    message: str
    data: JsonValue

    @classmethod
    def of(cls, event: RunEvent) -> Self:
        return cls(
            id=event.pk,
            at=event.at,
            kind=event.kind,
            step=event.step_run.order if event.step_run else None,
            actor=event.actor,
            message=event.message,
            data=event.data,
        )


class ProgressDocument(BaseModel):
    """Why a run has not ended, and since when; `reason` is empty and `since` null once it has.

    `step` is the order of the step that the run is at, null while it waits for a worker.
    """

    state: RunState
    reason: str = ""
    since: dt.datetime | None = None
    step: int | None = None

    @classmethod
    def of(cls, run: Run) -> Self:
        found = progress_of(run)
        state: Any = run.state
        if found is None:
            return cls(state=state)
        return cls(state=state, reason=found.reason, since=found.since, step=found.step)


class EventPage(ListPage[EventDocument]):
    """A page of events."""
