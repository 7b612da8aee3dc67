"""Command that writes a backup of the whole deployment."""

import argparse
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from validibot.setup.backup import BackupError, backup


class Command(BaseCommand):
    requires_system_checks = ()  # `release` runs them
    help = "Write database and files to one file or to standard output (-). The site stays in use."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", help="the file to write, or -")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = self._backup(options["file"])
        except FileExistsError:
            raise CommandError(f"{options['file']} exists. Choose another name.") from None
        except (BackupError, OSError) as error:
            raise CommandError(f"Backup failed: {error}") from None
        said = f"{count} files" if settings.DATA_ROOT.startswith("file:") else "no files"
        self.stderr.write(f"Backed up the database and {said}.")
        if not settings.DATA_ROOT.startswith("file:"):
            self.stderr.write(
                f"It does not include {settings.DATA_ROOT}: turn on object versioning for the bucket."
            )

    def _backup(self, name: str) -> int:
        if name == "-":
            if sys.stdout.isatty():
                raise BackupError("Standard output is a terminal. Redirect it: backup - > FILE")
            return backup(sys.stdout.buffer)
        target = Path(name)
        draft = target.with_name(f"{target.name}.part")
        if target.exists():
            raise FileExistsError
        draft.touch(mode=0o600)  # it contains password hashes
        try:
            with draft.open("wb") as output:
                count = backup(output)
            draft.rename(target)
        finally:
            draft.unlink(missing_ok=True)
        return count
