"""Command that fills an organisation with believable runs of a year."""

import argparse
import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone

from validators.sdk.manifest import ManifestInvalid
from validibot.accounts.models import Organisation
from validibot.core.commands import ReportingCommand
from validibot.core.storage import StorageError
from validibot.dashboards.counting import count_year
from validibot.setup.demo_runs import Filling, SeedError, fill_runs, prepare
from validibot.workflows.document import ImportInvalid

MAX_RUNS = 10_000_000
MAX_FINDINGS_OF_RUN = 100


class Command(ReportingCommand):
    """`manage.py seed_demo --size 1000`."""

    help = (
        "Fill an organisation with believable runs of the last year. The same arguments give the same"
        " runs; runs that are there already are left alone."
    )
    json_help = "print one line of JSON: the rows that were made, seconds, and notes"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--size", type=int, required=True, metavar="N", help="how many runs there are to be"
        )
        parser.add_argument(
            "--findings",
            type=int,
            metavar="M",
            help="about how many findings; 10 per run otherwise",
        )
        parser.add_argument("--organisation", default="demo", help="its slug; otherwise demo")
        parser.add_argument("--seed", type=int, default=1, help="other seeds give other runs")
        parser.add_argument(
            "--until", type=_day, metavar="DAY", help="the last day (UTC); today otherwise"
        )
        parser.add_argument("--force", action="store_true", help="also in production")

    def handle(self, *args: Any, **options: Any) -> None:
        filling = _filling(options)
        organisation = _organisation(options["organisation"])
        # Settings of deployments that are reached from outside send everybody to HTTPS.
        if settings.SECURE_SSL_REDIRECT and not options["force"]:
            raise CommandError(
                f"This is a production deployment: {filling.runs:,} invented runs would stand among the"
                f" real ones of {organisation.name}. --force makes them all the same."
            )
        notes: list[str] = []
        say = notes.append if options["json"] else self.stdout.write
        started = timezone.now()
        try:
            made = fill_runs(prepare(organisation, say), filling, say)
            count_year(organisation, filling.until.date())
        except (ImportInvalid, ManifestInvalid, SeedError, StorageError) as error:
            raise CommandError(str(error)) from None
        seconds = round((timezone.now() - started).total_seconds(), 1)
        text = f"Made {made['runs']:,} runs and {made['findings']:,} findings in {seconds} s."
        self.report(options, {**made, "seconds": seconds, "notes": notes}, text)


def _filling(options: dict[str, Any]) -> Filling:
    size, findings = options["size"], options["findings"]
    if not 1 <= size <= MAX_RUNS:
        raise CommandError(f"--size is {size}; it must be from 1 to {MAX_RUNS:,}.")
    findings = 10 * size if findings is None else findings
    if not 0 <= findings <= MAX_FINDINGS_OF_RUN * size:
        raise CommandError(
            f"--findings is {findings}; it must be from 0 to {MAX_FINDINGS_OF_RUN * size:,}, which is"
            f" {MAX_FINDINGS_OF_RUN} for each run."
        )
    until = timezone.now()
    if day := options["until"]:
        until = min(until, dt.datetime.combine(day, dt.time.max, dt.UTC))
    return Filling(size, findings, until, options["seed"])


def _organisation(slug: str) -> Organisation:
    found = Organisation.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(
            f"There is no organisation {slug!r}. `manage.py setup_all` makes the demonstration when"
            " DEMO_EMAIL and DEMO_PASSWORD are set; --organisation names another."
        )
    return found


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-01-31") from None
