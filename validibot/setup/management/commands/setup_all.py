"""Command that makes a new deployment usable; running it again changes nothing."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from validators.sdk.manifest import ManifestInvalid
from validibot.accounts.models import User
from validibot.accounts.workspaces import ensure_personal_workspace
from validibot.core.storage import StorageError
from validibot.setup import demo
from validibot.setup.seeds import SeedInvalid, load_standard_weather
from validibot.workflows.catalogue import sync_validators
from validibot.workflows.weather import WeatherInvalid


class Command(BaseCommand):
    """`manage.py setup_all`."""

    help = "Sync validators, give every user a workspace, and create the demo data if configured."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sync_validators(settings.VALIDATORS_DIR)
            load_standard_weather(say=self.stdout.write)
            for user in User.objects.filter(workspace=None):
                ensure_personal_workspace(user)
            if settings.DEMO_EMAIL:
                demo.make(self.stdout.write)
        except (
            ManifestInvalid,
            SeedInvalid,
            StorageError,
            WeatherInvalid,
            demo.DemoError,
        ) as error:
            raise CommandError(str(error)) from None
        self.stdout.write("The deployment is set up.")
