"""Copy the whole deployment into one file."""

import argparse
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from validibot.setup.backup import BackupError, backup


class Command(BaseCommand):
    help = "Copy database and files into one file, or to standard output (-), while all goes on."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", help="the file to make, or -")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = self._backup(options["file"])
        except FileExistsError:
            raise CommandError(f"{options['file']} is there already. Name another file.") from None
        except (BackupError, OSError) as error:
            raise CommandError(f"There is no backup: {error}") from None
        said = f"{count} files" if settings.DATA_ROOT.startswith("file:") else "no files"
        self.stderr.write(f"Backed up the database and {said}.")
        if not settings.DATA_ROOT.startswith("file:"):
            self.stderr.write(
                f"{settings.DATA_ROOT} is not in it: keep old versions in the bucket."
            )

    def _backup(self, name: str) -> int:
        if name == "-":
            if sys.stdout.isatty():
                raise BackupError("a backup is nothing to read. Lead it elsewhere: backup - > FILE")
            return backup(sys.stdout.buffer)
        target = Path(name)
        draft = target.with_name(f"{target.name}.part")
        if target.exists():
            raise FileExistsError
        draft.touch(mode=0o600)  # hashes of passwords are nobody else's business
        try:
            with draft.open("wb") as output:
                count = backup(output)
            draft.rename(target)
        finally:
            draft.unlink(missing_ok=True)
        return count
