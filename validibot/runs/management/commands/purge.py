"""Command `purge`: remove what is older than its retention."""

from typing import Any

from django.core.management.base import CommandError

from validibot.core.commands import ReportingCommand
from validibot.runs.purge import DataRootShared, purge


class Command(ReportingCommand):
    help = "Remove rows and files that are older than RETENTION_DAYS of their kind."

    json_help = "print one line of JSON: how many of each kind"

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            removed = purge()
        except DataRootShared as error:
            raise CommandError(str(error)) from None
        said = ", ".join(f"{count} {kind}" for kind, count in removed.items())
        self.report(options, {"removed": removed}, said)
