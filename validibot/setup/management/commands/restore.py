"""Command that restores a deployment from a backup."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from validibot.setup.backup import BackupError, restore


class Command(BaseCommand):
    requires_system_checks = ()  # `release` runs them
    help = "Restore database and files from a file that `backup` wrote."
    # Restoring must work on an empty or damaged database.
    requires_migrations_checks = False

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--replace",
            action="store_true",
            help="delete the content of the database; needs maintenance",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = restore(options["file"], replace=options["replace"])
        except (BackupError, OSError) as error:
            raise CommandError(f"Restore failed: {error}") from None
        self.stdout.write(f"Restored the database and {count} missing or changed files.")
        if options["replace"]:
            self.stdout.write("Maintenance is still on. Turn it off: manage.py maintenance off")
