"""Command `trace_run`: the events of a run, or the callback of its latest attempt in a file."""

import argparse
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.core.management.base import CommandError

from validibot.core.commands import ReportingCommand
from validibot.core.storage import StorageError, get_storage
from validibot.runs.models import Attempt, Run, RunEvent

_ENVELOPE_LIMIT = 10_000_000


class Command(ReportingCommand):
    help = "Print the events of a run, or save what its latest validator posts when it succeeds."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("run", type=UUID, metavar="RUN", help="the id of a run")
        parser.add_argument(
            "--callback",
            type=Path,
            metavar="FILE",
            help="save the callback of the latest attempt in a new file, for `devenv replay`",
        )
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        run: UUID = options["run"]
        if not Run.objects.filter(pk=run).exists():
            raise CommandError(f"There is no run {run}.")
        if file := options["callback"]:
            _save(file, _callback(run))
            return
        events = list(RunEvent.objects.filter(run=run).select_related("step_run"))
        rows = [_row(event, events[0]) for event in events]
        told = [
            {"at": event.at.isoformat(), "step": _step(event), "kind": event.kind}
            | {"actor": event.actor, "message": event.message, "data": event.data}
            for event in events
        ]
        self.report(options, told, "\n".join(rows))


def _row(event: RunEvent, first: RunEvent) -> str:
    data = ", ".join(f"{name} {value}" for name, value in event.data.items())
    text = "; ".join(part for part in (event.message, data) if part)
    seconds = f"+{(event.at - first.at).total_seconds():.3f} s"
    step = f"step {_step(event)}" if event.step_run else ""
    moment = f"{event.at:%H:%M:%S}  {seconds:<11}  {step:<7}"
    return f"{moment}  {event.kind:<18} {event.actor:<12} {text}".rstrip()


def _step(event: RunEvent) -> int | None:
    return event.step_run.order if event.step_run else None


def _save(file: Path, request: dict[str, str]) -> None:
    """Write a request to a new file. Raises CommandError."""
    try:
        file.touch(mode=0o600, exist_ok=False)  # it contains the attempt's nonce
        file.write_text(json.dumps(request, indent=2) + "\n")
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}.") from None


def _callback(run: UUID) -> dict[str, str]:
    """Return the request from the envelope that the attempt was given. Raises CommandError."""
    attempt = Attempt.objects.filter(step_run__run=run).order_by("created_at").last()
    if attempt is None:
        raise CommandError(f"No validator was launched for the run {run}.")
    try:
        content = get_storage(attempt.input_uri).read(attempt.input_uri, limit=_ENVELOPE_LIMIT)
    except StorageError as error:
        raise CommandError(f"The envelope {attempt.input_uri} cannot be read: {error}") from None
    context = json.loads(content)["context"]
    body = {
        "run_id": str(run),
        "callback_id": context["callback_id"],
        "callback_nonce": context["callback_nonce"],
        "status": "success",
        "result_uri": context["expected_output_uri"],
    }
    path = urlsplit(str(context["callback_url"] or "")).path
    return {"path": path, "caller": "", "body": json.dumps(body)}
