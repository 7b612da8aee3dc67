"""Command that writes a workflow as a workflow file."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from validibot.accounts.models import Organisation
from validibot.workflows.exporting import ExportTooLarge, export_bundle, export_text
from validibot.workflows.select import WorkflowNotFound, find_workflow


class Command(BaseCommand):
    """`manage.py export_workflow ORGANISATION SLUG`."""

    help = "Write a version of a workflow as a text (.yaml) or, with --output X.zip, as a bundle."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("organisation", help="slug of the organisation")
        parser.add_argument("workflow", help="slug of the workflow")
        parser.add_argument("--number", type=int, help="the version; without it the latest")
        parser.add_argument(
            "--output", type=Path, metavar="FILE", help="without it: standard output"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        output: Path | None = options["output"]
        try:
            organisation = Organisation.objects.get(slug=options["organisation"])
            found = find_workflow(organisation, options["workflow"], version=options["number"])
            if output and output.suffix == ".zip":
                output.write_bytes(export_bundle(found))
            elif output:
                output.write_text(export_text(found), encoding="utf-8")
            else:
                self.stdout.write(export_text(found), ending="")
        except Organisation.DoesNotExist:
            raise CommandError(f"There is no organisation {options['organisation']!r}.") from None
        except (WorkflowNotFound, ExportTooLarge) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror}.") from None
