"""Command that lists tasks and dead letters, and requeues dead letters."""

import argparse
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

from validibot.dispatch.delivery import requeue
from validibot.dispatch.models import DeadLetter

_MAX_ROWS = 200


class Command(BaseCommand):
    requires_system_checks = ()  # `release` runs them
    help = "List the tasks of the queue or the dead letters; requeue dead letters."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="list waiting and running tasks (database queue only)")
        verbs.add_parser(
            "dead", help="list dead letters: tasks that failed too often, with their error"
        )
        again = verbs.add_parser("requeue", help="enqueue the tasks of dead letters again")
        which = again.add_mutually_exclusive_group(required=True)
        which.add_argument("ids", nargs="*", type=int, default=[], metavar="ID")
        which.add_argument("--all", action="store_true", help="every dead letter")

    def handle(self, *args: Any, **options: Any) -> None:
        match options["verb"]:
            case "list":
                self._list()
            case "dead":
                self._show(
                    ("ID", "ATTEMPTS", "TASK", "ERROR"),
                    [
                        (letter.pk, letter.attempts, letter, letter.error.partition("\n")[0])
                        for letter in DeadLetter.objects.all()[:_MAX_ROWS]
                    ],
                    DeadLetter.objects.count(),
                )
            case _:
                everything = DeadLetter.objects.values_list("pk", flat=True)
                self._requeue(list(everything) if options["all"] else options["ids"])

    def _list(self) -> None:
        if not apps.is_installed("validibot.dispatch.database"):
            raise CommandError(
                "Only the database queue can list its tasks. For Cloud Tasks run"
                " `gcloud tasks list --queue QUEUE --location REGION`."
            )
        tasks = apps.get_model("queue", "QueuedTask").objects
        rows = [(task.pk, task.state, task.attempts, task) for task in tasks.all()[:_MAX_ROWS]]
        self._show(("ID", "STATE", "ATTEMPTS", "TASK"), rows, tasks.count())

    def _show(self, heads: tuple[str, ...], rows: list[tuple[Any, ...]], count: int) -> None:
        lines = [heads, *(tuple(map(str, row)) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for cells in lines:
            line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            self.stdout.write(line.rstrip())
        if count > len(rows):
            self.stdout.write(f"… and {count - len(rows)} more")

    def _requeue(self, ids: list[int]) -> None:
        letters = DeadLetter.objects.in_bulk(ids)
        if missing := [str(pk) for pk in ids if pk not in letters]:
            raise CommandError(
                f"No dead letter has the id {', '.join(missing)}; `manage.py queue dead` lists them."
            )
        if unknown := [str(letter) for letter in letters.values() if not requeue(letter)]:
            raise CommandError(f"This version has no such task: {', '.join(unknown)}")
        count = len(letters)
        self.stdout.write("1 task requeued." if count == 1 else f"{count} tasks requeued.")
