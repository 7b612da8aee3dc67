"""Command that prepares database and catalogue for this version before its processes start."""

from typing import Any

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    requires_system_checks = ()  # `handle` runs more of them
    help = "Check the configuration (before any change), migrate the database and sync validators."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("check", deploy=True, stdout=self.stdout, stderr=self.stderr)
        if not _are_collected():
            raise CommandError(
                f"No static files in {settings.STATIC_ROOT}. Collect them:"
                " DJANGO_SETTINGS_MODULE=config.settings.build python manage.py collectstatic --no-input"
            )
        call_command("migrate_checked", stdout=self.stdout)
        call_command("setup_all", stdout=self.stdout)
        self.stdout.write("Released.")


def _are_collected() -> bool:
    """Return whether the static files are collected; True for a storage without a manifest."""
    files = getattr(staticfiles_storage, "hashed_files", None)
    return files is None or bool(files)
