"""The base of management commands that programs call, too."""

import argparse
import json
from typing import Any, ClassVar

from django.core.management.base import BaseCommand


class ReportingCommand(BaseCommand):
    """A command that prints its result for people or, with `--json`, as one line of JSON."""

    # Checks load all pages and the API, which takes as long as the command; `release` runs them.
    requires_system_checks = ()
    json_help: ClassVar[str] = "print one line of JSON"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help=self.json_help)

    def report(self, options: dict[str, Any], result: object, text: str) -> None:
        """Print `result` as JSON if `options` ask for it, else `text`."""
        self.stdout.write(json.dumps(result) if options["json"] else text)
