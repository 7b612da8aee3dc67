"""Validation of files with a workflow file, in this process and without a database.

Only validators inside Django can run so. The rows of workflow, run and findings are those of a site,
unsaved: settings and expressions are checked and evaluated as there.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from validibot.accounts.models import Organisation
from validibot.engines import ENGINES, Document, EngineBusy, EngineError, get_engine
from validibot.engines.problems import DocumentProblem
from validibot.runs.models import Finding, Run, StepRun
from validibot.runs.states import RunStatus, StepStatus
from validibot.runs.verdict import (
    ASSERTION_FIELDS,
    Verdict,
    broken,
    complete,
    condition_verdict,
    finding,
    judged,
    names_in_scope,
)
from validibot.submissions import content
from validibot.submissions.models import Submission
from validibot.workflows.catalogue import engine_fields
from validibot.workflows.document import ImportInvalid, ImportProblem, Place, WorkflowFile
from validibot.workflows.importing import ImportPlan, ImportPlanner, StepPlan, read_file
from validibot.workflows.inputs import input_faults
from validibot.workflows.models import OnFailure, Sample, StepFile, Validator, Workflow


class FileRefused(Exception):
    """The workflow does not take the file or its inputs; the message says why."""


@dataclass(slots=True)
class OfflineRun:
    """A finished run in memory: its rows, and the findings of each step in order."""

    run: Run
    steps: list[tuple[StepRun, list[Finding]]] = field(default_factory=list)


class _Beside(Mapping[str, bytes]):
    """The files below the folder of a workflow file, by their path there; read when asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def __getitem__(self, name: str) -> bytes:
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            raise KeyError(name)
        return path.read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def read_plan(path: Path) -> ImportPlan:
    """Read a workflow file, with the files beside it, or a bundle. Raises ImportInvalid and OSError."""
    read, files = read_file(path.read_bytes())
    planner = _OfflinePlanner(read, files or _Beside(path.parent), Organisation(slug="offline"))
    plan = planner.plan(update=True)
    if planner.problems:
        raise ImportInvalid(*planner.problems)
    if not any(each.step.is_enabled for each in plan.steps):
        raise ImportInvalid(ImportProblem("The workflow has no enabled step."))
    return plan


def validate(plan: ImportPlan, path: Path, inputs: Mapping[str, str]) -> OfflineRun:
    """Validate a file with every step until one fails. Raises FileRefused and OSError."""
    steps = [each for each in plan.steps if each.step.is_enabled]
    _check(plan.workflow, steps, path, inputs)
    body = path.read_bytes()
    submission = Submission(
        filename=path.name,
        mime_type=content.mime_type(path.name),
        size_bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        metadata=dict(inputs),
    )
    run = Run(workflow=plan.workflow, submission=submission, status=RunStatus.SUCCEEDED)
    done = OfflineRun(run)
    earlier: dict[str, Mapping[str, object]] = {}
    has_stopped = False
    for each in steps:
        step_run = _step_run(run, each)
        verdict = Verdict(status=StepStatus.SKIPPED)
        if not has_stopped:
            verdict = _verdict(each, step_run, body, earlier)
        step_run.status, step_run.error = verdict.status, verdict.error
        earlier[str(step_run.order)] = verdict.outputs
        for found in verdict.findings:
            found.step_run = step_run
        done.steps.append((step_run, list(verdict.findings)))
        if verdict.run_status:
            run.status, run.error_category = verdict.run_status, verdict.category
            run.error = run.error or verdict.error
            has_stopped = bool(verdict.error) or each.step.on_failure == OnFailure.STOP
    return done


def _check(
    workflow: Workflow, steps: list[StepPlan], path: Path, inputs: Mapping[str, str]
) -> None:
    first = steps[0].step.validator
    accepted = {each["extension"] for each in first.accepts}
    if accepted and content.extension(path.name) not in accepted:
        raise FileRefused(
            f"{path} is not a file that {workflow.name} accepts; it takes"
            f" {', '.join(sorted(accepted))}."
        )
    limit = max(get_engine(each.step.validator.engine).manifest.max_bytes for each in steps)
    if (size := path.stat().st_size) > limit:
        raise FileRefused(f"{path} has {size:,} bytes; at most {limit:,} can be checked.")
    if faults := input_faults(workflow.input_schema, inputs):
        name, message = next(iter(faults.items()))
        raise FileRefused(f"--input {name}: {message}" if name else message)


def _step_run(run: Run, plan: StepPlan) -> StepRun:
    step = plan.step
    row = StepRun(run=run, step=step, order=step.order, name=step.name)
    rows = [
        {"key": str(each.order), **{name: getattr(each, name) for name in ASSERTION_FIELDS}}
        for each in plan.assertions
    ]
    row.assertion_rows = rows  # type: ignore[attr-defined]  # as `assertion_rows` annotates it
    return row


def _verdict(
    plan: StepPlan, step_run: StepRun, body: bytes, earlier: Mapping[str, Mapping[str, object]]
) -> Verdict:
    step, run = plan.step, step_run.run
    engine = get_engine(step.validator.engine)
    submission = run.submission
    if len(body) > engine.manifest.max_bytes:
        message = f"The file has more than {engine.manifest.max_bytes:,} bytes."
        return judged([finding(DocumentProblem(message, code="document.too_large"))])
    files = {row.name: stored for row, stored in plan.files if stored is not None}
    try:
        names = names_in_scope(run, earlier=earlier, outputs={})
        document = Document(body, submission.filename, submission.mime_type, files, names)
        if step.when:
            stopped = condition_verdict(step_run, run=run, document=document, earlier=earlier)
            if stopped:
                return stopped
        result = engine.check(document, step.config)
        verdict = judged(map(finding, result.problems), outputs=result.outputs)
        return complete(verdict, step_run, run=run, document=document, earlier=earlier)
    except (EngineError, EngineBusy) as error:
        return broken(str(error) or "The validator is busy. Try again.")


class _OfflinePlanner(ImportPlanner):
    """The check of a workflow file against the validators inside Django alone."""

    __slots__ = ()

    def _samples(self, file: WorkflowFile) -> Iterator[Sample]:
        """Return no samples: nothing offline needs them."""
        return iter(())

    def _existing(self, slug: str) -> Workflow | None:
        return None

    def _check_room(self) -> None:
        """Report nothing: there is no site, whose settings would limit workflows."""

    def _validator(self, place: Place, reference: str) -> Validator | None:
        slug, _, version = reference.partition("@")
        known = {engine.manifest.slug: name for name, engine in ENGINES.items()}
        if slug not in known:
            self.report(
                place,
                f"{slug!r} does not run without a site: it is unknown, or runs in a container. These"
                f" run: {', '.join(sorted(known))}.",
            )
            return None
        manifest = get_engine(known[slug]).manifest
        if version not in ("", manifest.version):
            self.report(place, f"There is no {reference}. There is {slug}@{manifest.version}.")
            return None
        # With a key, because the rules of a step are not checked before it has a validator.
        fields = engine_fields(known[slug], manifest)
        return Validator(pk=1, slug=slug, version=manifest.version, **fields)

    def _reuse(self, row: StepFile, sha256: str | None, place: Place) -> bool:
        if not self._has_problem(place):
            message = f"The content of {row.name} is missing. Put it beside the workflow file."
            self.report(place, message)
        return False
