"""Bring database and catalogue in line with this version, before its processes start."""

from typing import Any

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Check the configuration, migrate the database, sync validators; fails before it changes anything."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("check", deploy=True, stdout=self.stdout, stderr=self.stderr)
        if not _are_collected():
            raise CommandError(
                f"There are no static files in {settings.STATIC_ROOT}. Collect them:"
                " DJANGO_SETTINGS_MODULE=config.settings.build python manage.py collectstatic --no-input"
            )
        call_command("migrate", interactive=False, verbosity=0, stdout=self.stdout)
        call_command("setup_all", stdout=self.stdout)
        self.stdout.write("Released.")


def _are_collected() -> bool:
    """Say whether pages find their files; only a storage with a manifest can tell."""
    files = getattr(staticfiles_storage, "hashed_files", None)
    return files is None or bool(files)
