"""Command that migrates the database of a deployment that serves users."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from validibot.setup.migration_check import MigrationRefused, check_migrations


class Command(BaseCommand):
    """`manage.py migrate_checked`."""

    requires_system_checks = ()  # `migrate` runs them
    help = "Refuse migrations that lock a table or remove what is used; then migrate the database."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            check_migrations()
        except MigrationRefused as error:
            raise CommandError(str(error)) from None
        call_command("migrate", interactive=False, verbosity=0, stdout=self.stdout)
        self.stdout.write("Migrated.")
