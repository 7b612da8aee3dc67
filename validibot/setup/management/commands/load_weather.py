"""Command that loads EPW files into the weather catalogue."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from validibot.core.storage import StorageError
from validibot.workflows.models import WeatherFile
from validibot.workflows.weather import WeatherInvalid, load_weather

_COMPANIONS = {"design_days": "design days", "weather_statistics": "statistics"}


class Command(BaseCommand):
    """`manage.py load_weather`."""

    help = (
        "Load EPW files, each with the DDY and STAT of its name beside it, into the weather catalogue;"
        " without files, list the catalogue."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", nargs="*", type=Path, help="an EPW file, or a folder of them")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for path in _files(options["file"]):
                entry, is_new = load_weather(path)
                beside = " and ".join(_COMPANIONS[file["port_key"]] for file in entry.files[1:])
                with_files = f" with {beside}" if beside else ""
                done = "Loaded" if is_new else "Updated"
                self.stdout.write(f"{done} {entry.name} ({entry.location}){with_files}.")
        except (WeatherInvalid, StorageError) as error:
            raise CommandError(str(error)) from None
        if not options["file"]:
            for entry in WeatherFile.objects.all():
                self.stdout.write(f"{entry.name}  {entry.location}")


def _files(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        inside = sorted(each for each in path.glob("*") if each.suffix.lower() == ".epw")
        if path.is_dir() and not inside:
            raise WeatherInvalid(f"{path} has no EPW file.")
        found += inside if path.is_dir() else [path]
    return found
