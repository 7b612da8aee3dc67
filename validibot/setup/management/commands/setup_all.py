"""Command that makes a new deployment usable; running it again changes nothing."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from validators.sdk.manifest import ManifestInvalid, resolve_resource
from validibot.accounts.models import User
from validibot.accounts.workspaces import ensure_personal_workspace
from validibot.core.commands import ReportingCommand
from validibot.core.storage import StorageError
from validibot.setup import demo
from validibot.workflows.catalogue import sync_validators
from validibot.workflows.document import ImportInvalid
from validibot.workflows.models import WEATHER_TYPE, Validator
from validibot.workflows.weather import WeatherInvalid, load_weather


class Command(ReportingCommand):
    """`manage.py setup_all`."""

    help = "Sync validators, give every user a workspace, and create the demo data if configured."

    json_help = "print one line of JSON: rows changed in the catalogue, new workspaces, notes"

    def handle(self, *args: Any, **options: Any) -> None:
        notes: list[str] = []
        say = notes.append if options["json"] else self.stdout.write
        workspaces = 0
        try:
            validators = sync_validators(settings.VALIDATORS_DIR)
            _load_standard_weather(say)
            for user in User.objects.filter(workspace=None):
                ensure_personal_workspace(user)
                workspaces += 1
            if settings.DEMO_EMAIL:
                demo.make(say)
        except (
            ImportInvalid,
            ManifestInvalid,
            StorageError,
            WeatherInvalid,
            demo.DemoError,
        ) as error:
            raise CommandError(str(error)) from None
        done = {"validators": validators, "workspaces": workspaces, "notes": notes}
        self.report(options, done, "The deployment is set up.")


def _load_standard_weather(say: demo.Say) -> None:
    """Load the weather that validators use by default, where it is installed."""
    for validator in Validator.objects.filter(organisation=None, is_active=True):
        for port in validator.ports:
            if port.get("type") == WEATHER_TYPE and port["default"]:
                try:
                    source = resolve_resource(port["default"])
                except ManifestInvalid:
                    say(f"{port['name']} is not loaded: {port['default']} is not installed.")
                else:
                    load_weather(source)
