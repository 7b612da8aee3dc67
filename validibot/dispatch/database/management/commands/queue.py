"""Look at the database queue, and put dead tasks back on it."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from validibot.dispatch.database.models import QueuedTask
from validibot.dispatch.database.upkeep import requeue

_MOST = 200


class Command(BaseCommand):
    help = "List the tasks of the queue, or only the dead ones; requeue dead ones."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="what waits, what runs and what is dead")
        verbs.add_parser("dead", help="what failed too often, and why")
        again = verbs.add_parser("requeue", help="give dead tasks all their attempts anew")
        which = again.add_mutually_exclusive_group(required=True)
        which.add_argument("ids", nargs="*", type=int, default=[], metavar="ID")
        which.add_argument("--all", action="store_true", help="every dead task")

    def handle(self, *args: Any, **options: Any) -> None:
        everything = QueuedTask.objects.all()
        dead = everything.filter(status=QueuedTask.DEAD)
        match options["verb"]:
            case "list":
                self.show(everything, ("ID", "STATE", "ATTEMPTS", "TASK"), _brief)
            case "dead":
                self.show(dead, ("ID", "ATTEMPTS", "TASK", "ERROR"), _obituary)
            case _:
                ids = list(dead.values_list("pk", flat=True)) if options["all"] else options["ids"]
                self.requeue(ids)

    def show(self, tasks: QuerySet[QueuedTask], heads: tuple[str, ...], row: Any) -> None:
        rows = [heads, *map(row, tasks[:_MOST])]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for cells in rows:
            line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            self.stdout.write(line.rstrip())
        if (left := tasks.count() - _MOST) > 0:
            self.stdout.write(f"… and {left} more")

    def requeue(self, ids: list[int]) -> None:
        alive = [str(pk) for pk in ids if not requeue([pk])]
        if alive:
            raise CommandError(
                f"No dead task has the id {', '.join(alive)}; `manage.py queue dead` lists them."
            )
        count = len(ids)
        self.stdout.write("1 task waits again." if count == 1 else f"{count} tasks wait again.")


def _brief(task: QueuedTask) -> tuple[str, ...]:
    return str(task.pk), task.state, str(task.attempts), f"{task.task}{task.arguments}"


def _obituary(task: QueuedTask) -> tuple[str, ...]:
    called = f"{task.task}{task.arguments}"
    return str(task.pk), str(task.attempts), called, task.error.partition("\n")[0]
