"""Command `export_events`: write tracking events to a file."""

import argparse
import datetime as dt
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from validibot.core.commands import ReportingCommand
from validibot.tracking.events import FORMATS, select_events
from validibot.tracking.models import EventName


def _day(text: str) -> dt.datetime:
    try:
        return timezone.make_aware(dt.datetime.combine(dt.date.fromisoformat(text), dt.time()))
    except ValueError:
        message = f"{text!r} is no date. Write it as 2026-01-31."
        raise argparse.ArgumentTypeError(message) from None


class Command(ReportingCommand):
    help = "Write tracking events to a file: CSV or JSON Lines, by the ending of its name."

    json_help = "print one line of JSON: the file and how many events"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, help="a name that ends with .csv or .jsonl")
        parser.add_argument("--name", default="", choices=EventName.values, help="of one name only")
        parser.add_argument("--after", type=_day, help="from this day on (UTC), as 2026-01-31")
        parser.add_argument("--before", type=_day, help="before this day (UTC)")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        write = FORMATS.get(path.suffix.removeprefix("."))
        if write is None:
            raise CommandError(f"file: {path.name!r} must end with .csv or .jsonl.")
        chosen = {name: options[name] for name in ("name", "after", "before")}
        events = select_events(**chosen)
        count = events.count()
        try:
            with path.open("wb") as file:
                file.writelines(write(events))
        except OSError as error:
            raise CommandError(f"file: {path} cannot be written: {error.strerror}.") from None
        told = {"file": str(path), "events": count}
        self.report(options, told, f"{count} events were written to {path}.")
