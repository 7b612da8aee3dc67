"""Command `verify_evidence`: verify an evidence bundle, without a database."""

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand

from validibot.runs import verification


class Command(BaseCommand):
    help = (
        "Verify an evidence bundle (Download everything). Exit code 0: valid; 1: files are missing,"
        " changed or added; 2: it is no bundle, or cannot be read safely."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        verification.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        code = verification.run(
            options["file"],
            digest=options["digest"],
            as_json=options["json"],
            write=self.stdout.write,
        )
        if code:
            sys.exit(code)
