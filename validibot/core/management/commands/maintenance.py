"""Close a deployment for maintenance, and open it again."""

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from validibot.core.models import Maintenance


class Command(BaseCommand):
    requires_system_checks = ()  # `release` runs them
    help = "Turn maintenance on or off: pages closed, API read-only, workers paused."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        on = verbs.add_parser("on", help="close")
        on.add_argument("--note", default="", help="why; `status` tells it")
        verbs.add_parser("off", help="open again")
        verbs.add_parser("status", help="say which it is")

    def handle(self, *args: Any, **options: Any) -> None:
        match options["verb"]:
            case "on":
                Maintenance.objects.update_or_create(defaults={"note": options["note"][:500]}, id=1)
            case "off":
                Maintenance.objects.all().delete()
        self.stdout.write(_status())


def _status() -> str:
    row = Maintenance.objects.first()
    if settings.MAINTENANCE:
        return "Maintenance is on because the variable MAINTENANCE is set. Unset it to turn it off."
    return f"Maintenance is on: {row}." if row else "Maintenance is off."
