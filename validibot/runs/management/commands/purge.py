"""Command `purge`: remove what is older than its retention."""

from typing import Any

from django.core.management.base import BaseCommand

from validibot.runs.purge import purge


class Command(BaseCommand):
    help = "Remove rows and files that are older than RETENTION_DAYS of their kind."

    def handle(self, *args: Any, **options: Any) -> None:
        removed = purge()
        self.stdout.write(", ".join(f"{count} {kind}" for kind, count in removed.items()))
