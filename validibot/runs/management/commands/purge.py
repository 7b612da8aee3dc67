"""Command `purge`: remove what is older than its retention."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from validibot.runs.purge import DataRootShared, purge


class Command(BaseCommand):
    help = "Remove rows and files that are older than RETENTION_DAYS of their kind."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            removed = purge()
        except DataRootShared as error:
            raise CommandError(str(error)) from None
        self.stdout.write(", ".join(f"{count} {kind}" for kind, count in removed.items()))
