"""Command that imports workflow files, for repositories of workflows."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from validibot.accounts.models import Organisation, User
from validibot.workflows.document import ImportInvalid
from validibot.workflows.importing import check_import, import_workflow


class Command(BaseCommand):
    """`manage.py import_workflow ORGANISATION FILE…`."""

    help = "Import workflow files (.yaml, .zip). All files are checked before the first is written."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("organisation", help="slug of the organisation")
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument(
            "--update", action="store_true", help="change workflows whose slug exists"
        )
        parser.add_argument("--check", action="store_true", help="check the files, write nothing")
        parser.add_argument("--author", metavar="EMAIL", help="the author of new workflows")

    def handle(self, *args: Any, **options: Any) -> None:
        organisation = Organisation.objects.filter(slug=options["organisation"]).first()
        if organisation is None:
            raise CommandError(f"There is no organisation {options['organisation']!r}.")
        author = self._author(organisation, options["author"])
        files = {path: _read(path) for path in options["files"]}
        for path, content in files.items():
            with _Problems(path):
                check_import(
                    content, organisation=organisation, author=author, update=options["update"]
                )
        for path, content in {} if options["check"] else files.items():
            with _Problems(path):
                made = import_workflow(
                    content, organisation=organisation, author=author, update=options["update"]
                )
            self.stdout.write(f"{path}: {made.slug} version {made.version}")
        if options["check"]:
            self.stdout.write(f"{len(files)} checked, no problem found.")

    def _author(self, organisation: Organisation, email: str | None) -> User | None:
        if email is None:
            return None
        author = User.objects.filter(email__iexact=email, memberships__organisation=organisation)
        if found := author.first():
            return found
        raise CommandError(f"{organisation.slug} has no member {email!r}.")


class _Problems:
    """Turns the problems of a file into the error of the command, one line for each."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ImportInvalid):
            raise CommandError("\n".join(f"{self.path}: {each}" for each in error.problems))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
