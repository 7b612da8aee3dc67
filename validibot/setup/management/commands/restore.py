"""Put the deployment back to what a backup holds."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from validibot.setup.backup import BackupError, restore


class Command(BaseCommand):
    help = "Put database and files back from a file that `backup` made; all of it, or nothing."
    # It has to work on a database that is empty, or broken.
    requires_migrations_checks = False

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--replace", action="store_true", help="lose what the database has; needs maintenance"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = restore(options["file"], replace=options["replace"])
        except (BackupError, OSError) as error:
            raise CommandError(f"Nothing is restored: {error}") from None
        self.stdout.write(f"Restored the database, and {count} files that were not here.")
        if options["replace"]:
            self.stdout.write("The site is still closed. Open it: manage.py maintenance off")
