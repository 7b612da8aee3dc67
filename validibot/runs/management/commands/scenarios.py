"""List the scenarios of mocked validators; play one on a workflow of the demo organisation."""

import io
from argparse import ArgumentParser
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from validibot.accounts.models import Organisation
from validibot.runs import events
from validibot.runs.access import NotAdmitted
from validibot.runs.backends.mock.containers import containers
from validibot.runs.models import CallbackReceipt, Run
from validibot.runs.start import start
from validibot.submissions import content
from validibot.workflows.models import Workflow
from validibot.workflows.scenarios import CATALOGUE
from validibot.workflows.select import WorkflowNotFound, find_workflow

# Seconds for which a scenario may go on after its run has ended.
_AFTERMATH_SECONDS = 30


class Command(BaseCommand):
    """`manage.py scenarios`, `manage.py scenarios run 'fail(3)' --workflow fmu-decay`."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", metavar="run")
        run = commands.add_parser("run", help="play a scenario and print what became of its run")
        run.add_argument("name", help="for example pass, or 'fail(3)'")
        run.add_argument("--workflow", required=True, help="the slug of a workflow")
        run.add_argument("--file", type=Path, help="what to submit; otherwise the passing sample")
        run.add_argument("--organisation", default="demo", help="whose workflow; otherwise demo's")
        run.add_argument("--wait", type=int, default=60, help="seconds to wait for the end")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["command"] is None:
            self._list()
            return
        workflow = _workflow(options["organisation"], options["workflow"])
        with _file(workflow, options["file"]) as incoming:
            run = _start(workflow, incoming, options["name"])
        if not events.wait_until_finished(run.pk, timeout=options["wait"]):
            self.stdout.write(f"The run has not ended within {options['wait']} seconds.")
        containers.join(_AFTERMATH_SECONDS)
        self._tell(Run.objects.get(pk=run.pk))

    def _list(self) -> None:
        width = max(len(kind.form) for kind in CATALOGUE.values())
        for kind in CATALOGUE.values():
            self.stdout.write(f"{kind.form:<{width}}  {kind.sentence}")

    def _tell(self, run: Run) -> None:
        severities = Counter(run.findings.values_list("severity", flat=True))
        found = ", ".join(f"{count} {what}" for what, count in sorted(severities.items()))
        kinds = run.events.order_by("pk").values_list("kind", flat=True)
        deliveries = CallbackReceipt.objects.filter(run=run).values_list("deliveries", flat=True)
        rows = {
            "run": run.pk,
            "scenario": run.scenario,
            "state": run.state,
            "result": run.result,
            "category": run.error_category or "-",
            "error": run.error or "-",
            "findings": found or "none",
            "artifacts": ", ".join(run.artifacts.values_list("name", flat=True)) or "none",
            "answers": f"{sum(deliveries)} heard",
            "events": " ".join(kinds),
        }
        for title, value in rows.items():
            self.stdout.write(f"{title:<10} {value}")


def _workflow(organisation: str, slug: str) -> Workflow:
    found = Organisation.objects.filter(slug=organisation).first()
    if found is None:
        raise CommandError(
            f"There is no organisation {organisation!r}. `manage.py setup_all` makes the "
            "demonstration when DEMO_EMAIL and DEMO_PASSWORD are set; --organisation names another."
        )
    try:
        return find_workflow(found, slug)
    except WorkflowNotFound as error:
        known = ", ".join(
            found.workflows.order_by("slug").values_list("slug", flat=True).distinct()
        )
        raise CommandError(f"{error} There are: {known or 'none'}.") from None


def _file(workflow: Workflow, path: Path | None) -> content.Incoming:
    sample = None if path else workflow.samples.filter(passes=True).first()
    try:
        body = path.read_bytes() if path else bytes(sample.content) if sample else b""
    except OSError as error:
        raise CommandError(f"--file {path}: {error.strerror}.") from None
    filename = path.name if path else sample.filename if sample else ""
    if not body:
        raise CommandError(f"Workflow {workflow.slug!r} has no sample: name a --file.")
    source = io.BytesIO(body)
    size, sha256 = content.measure(source)
    return content.Incoming(source, filename, size, sha256)


def _start(workflow: Workflow, incoming: content.Incoming, scenario: str) -> Run:
    try:
        incoming = replace(incoming, scenario=scenario)
        return start(workflow, incoming, user=None, source=Run.Source.CLI).run
    except NotAdmitted as error:
        raise CommandError(error.message) from None
