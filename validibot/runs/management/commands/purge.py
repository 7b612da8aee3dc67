"""Command `purge`: remove what is older than its retention."""

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from validibot.runs.purge import DataRootShared, purge


class Command(BaseCommand):
    help = "Remove rows and files that are older than RETENTION_DAYS of their kind."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="print one line of JSON: how many of each kind"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            removed = purge()
        except DataRootShared as error:
            raise CommandError(str(error)) from None
        said = ", ".join(f"{count} {kind}" for kind, count in removed.items())
        self.stdout.write(json.dumps({"removed": removed}) if options["json"] else said)
