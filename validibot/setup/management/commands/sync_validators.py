"""Command that updates the validator catalogue from engines and manifests."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from validators.sdk.manifest import ManifestInvalid
from validibot.core.commands import ReportingCommand
from validibot.workflows.catalogue import sync_validators


class Command(ReportingCommand):
    """`manage.py sync_validators`."""

    help = "Update the validator catalogue from engines and manifests."

    json_help = "print one line of JSON: how many rows were changed"

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            counts = sync_validators(settings.VALIDATORS_DIR)
        except ManifestInvalid as error:
            raise CommandError(str(error)) from None
        said = ", ".join(f"{count} {what}" for what, count in counts.items())
        self.report(options, {"validators": counts}, f"Validators: {said}.")
