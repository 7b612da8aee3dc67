"""Command that updates the validator catalogue from engines and manifests."""

import argparse
import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from validators.sdk.manifest import ManifestInvalid
from validibot.workflows.catalogue import sync_validators


class Command(BaseCommand):
    """`manage.py sync_validators`."""

    help = "Update the validator catalogue from engines and manifests."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="print one line of JSON: how many rows were changed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            counts = sync_validators(settings.VALIDATORS_DIR)
        except ManifestInvalid as error:
            raise CommandError(str(error)) from None
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        line = json.dumps({"validators": counts}) if options["json"] else f"Validators: {said}."
        self.stdout.write(line)
