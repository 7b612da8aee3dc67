"""Trials: a step is tried on a file while it is edited.

An engine checks the file as a run would, in its bounded child process where the file is large. A step
with a container is tried by a run of that step alone (`validibot.workflows.trials`), whose result is
shown on the same page. Earlier steps are not executed, so names of their outputs have no values here.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from validibot.accounts.scope import Scope
from validibot.engines import Document, EngineBusy, EngineError, get_engine
from validibot.runs.access import NotAdmitted
from validibot.runs.models import Finding, OutputValue, Run, StepRun, named_outputs
from validibot.runs.start import start
from validibot.runs.states import StepStatus
from validibot.runs.verdict import (
    ASSERTION_FIELDS,
    complete,
    condition_verdict,
    finding,
    judged,
    names_in_scope,
)
from validibot.submissions.content import Incoming, measure
from validibot.submissions.models import Submission
from validibot.web.editor.access import editor, editor_page
from validibot.web.editor.step_forms import StepForm
from validibot.web.parameters import positive_number
from validibot.workflows import trials
from validibot.workflows.ai import language_model_of
from validibot.workflows.editing import token_of
from validibot.workflows.models import FIRST_STEP, Assertion, Step, Validator, Workflow

MAX_TRIAL_BYTES = 16 * 1024 * 1024
MAX_SHOWN = 100
# Of the language model: somebody waits for the page.
MAX_MODEL_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a trial: an error of ours, or problems and outputs."""

    filename: str = ""
    error: str = ""
    problems: Sequence[Finding] = ()
    outputs: Sequence[OutputValue] = ()
    is_skipped: bool = False

    @property
    def passes(self) -> bool:
        return not self.error and not any(each.severity == "ERROR" for each in self.problems)


@editor
@require_POST
def try_step(
    request: HttpRequest, scope: Scope, workflow: Workflow, validator: int
) -> HttpResponseBase:
    """Try the step as the form describes it, saved or not; answer with a part of its page."""
    known = Validator.objects.known_to(scope.organisation)
    chosen = get_object_or_404(known, pk=validator, is_active=True)
    found = edited_step(request, workflow, chosen)
    if found is None:
        offered = Validator.objects.for_new_steps(scope.organisation, scope.role)
        get_object_or_404(offered, pk=validator)
    order = found.order if found else workflow.steps.count() + 1
    form = StepForm(chosen, found, token=token_of(workflow), data=request.POST, files=request.FILES)
    if chosen.in_process:
        trial = _trial(request, workflow, form, order)
    else:
        started = _start_trial(request, scope, workflow, form)
        if isinstance(started, Run):
            return _follow(request, scope, workflow, started)
        trial = started
    if not request.headers.get("HX-Request"):
        shown = trial.problems[:MAX_SHOWN]
        return editor_page(request, scope, workflow, "trial.html", trial=trial, shown=shown)
    return _answer(request, trial)


@editor
@require_GET
def trial_run(request: HttpRequest, scope: Scope, workflow: Workflow, run: UUID) -> HttpResponse:
    """Answer with the result of a trial's run, or with a part that asks again if it has not ended."""
    runs = Run.objects.filter(organisation=scope.organisation, source=Run.Source.TRIAL)
    found = get_object_or_404(runs.select_related("submission"), pk=run)
    if found.ended_at is None:
        return _waiting(request, scope, workflow, found)
    step_run = found.steps.select_related("step__validator").get()
    trial = Trial(
        found.submission.filename,
        found.error or step_run.error,
        list(found.findings.order_by("order")[:MAX_SHOWN]),
        step_run.output_values(),
        step_run.status == StepStatus.SKIPPED,
    )
    left_out = max(0, found.findings.count() - MAX_SHOWN)
    return _answer(request, trial, run=found, organisation=scope.organisation, left_out=left_out)


def _start_trial(
    request: HttpRequest, scope: Scope, workflow: Workflow, form: StepForm
) -> Run | Trial:
    """Start a run of the step as the form describes it; return why there is none otherwise."""
    if not form.is_valid():
        return _invalid(form)
    try:
        document, inputs = chosen_document(request, workflow), _inputs(request, workflow)
    except ValueError as error:
        return Trial(error=str(error))
    with transaction.atomic():
        hidden = trials.begin(workflow, author=scope.user, inputs=inputs)
        step = form.draft_step(hidden, FIRST_STEP)
        step.save()
        if form.step:
            trials.copy_files(form.step, step)
        form.save(step)
    file = io.BytesIO(document.content)
    incoming = Incoming(file, document.filename, *measure(file), metadata=inputs)
    try:
        return start(hidden, incoming, user=scope.user, source=Run.Source.TRIAL).run
    except NotAdmitted as error:
        return Trial(document.filename, error.message)


def _follow(request: HttpRequest, scope: Scope, workflow: Workflow, run: Run) -> HttpResponseBase:
    """Answer with a part of the page that follows the run; without HTMX its own page does."""
    if request.headers.get("HX-Request"):
        return _waiting(request, scope, workflow, run)
    return redirect("run", scope.organisation.slug, run.pk)


def _waiting(request: HttpRequest, scope: Scope, workflow: Workflow, run: Run) -> HttpResponse:
    context = {"run": run, "workflow": workflow, "organisation": scope.organisation}
    return render(request, "web/editor/_trial_run.html", context)


def _answer(request: HttpRequest, trial: Trial, **more: Any) -> HttpResponse:
    shown = trial.problems[:MAX_SHOWN]
    context = {"trial": trial, "shown": shown, "left_out": len(trial.problems) - len(shown), **more}
    return render(request, "web/editor/_trial.html", context)


def _trial(request: HttpRequest, workflow: Workflow, form: StepForm, order: int) -> Trial:
    if not form.is_valid():
        return _invalid(form)
    try:
        document = chosen_document(request, workflow)
    except ValueError as error:
        return Trial(error=str(error))
    step = form.draft_step(workflow, order)
    try:
        return check_step(step, form.draft_assertions(step), document)
    except EngineBusy:
        return Trial(document.filename, _("The server is busy. Try again in a moment."))
    except EngineError as error:
        return Trial(document.filename, str(error))


def _invalid(form: StepForm) -> Trial:
    message = _("The form has errors, so the step cannot be tried:")
    return Trial(error=f"{message} {_first(form)}")


def _inputs(request: HttpRequest, workflow: Workflow) -> dict[str, str]:
    """Return the inputs of the chosen sample; a file that was chosen has none."""
    if request.FILES.get("trial-file"):
        return {}
    sample = positive_number(request.POST.get("trial-sample", ""))
    inputs: dict[str, str] = workflow.samples.values_list("metadata", flat=True).get(pk=sample)
    return inputs


def check_step(step: Step, assertions: Sequence[Assertion], document: Document) -> Trial:
    """Check a document as a run of the step would. Raises EngineError and EngineBusy."""
    run = Run(workflow=step.workflow, submission=_submission(document))
    step_run: Any = StepRun(run=run, step=step, order=step.order)
    step_run.assertion_rows = [
        {"key": each.order} | {name: getattr(each, name) for name in ASSERTION_FIELDS}
        for each in assertions
    ]
    own: dict[str, Any] = {"run": run, "document": document, "earlier": {}}
    verdict = condition_verdict(step_run, **own) if step.when else None
    if verdict is None:
        engine = get_engine(step.validator.engine)
        if engine.manifest.reads_context:
            document = replace(document, names=names_in_scope(run, earlier={}, outputs={}))
        if engine.manifest.asks_model:
            owner = step.workflow.organisation
            model = language_model_of(owner, seconds=MAX_MODEL_SECONDS)
            document = replace(document, model=model)
        result = engine.check(document, step.config)
        found = judged(map(finding, result.problems), outputs=result.outputs)
        verdict = complete(found, step_run, **own)
    is_skipped = verdict.status == StepStatus.SKIPPED
    outputs = named_outputs(dict(verdict.outputs), step.validator.outputs)
    return Trial(document.filename, "", verdict.findings, outputs, is_skipped)


def _submission(document: Document) -> Submission:
    return Submission(
        filename=document.filename,
        mime_type=document.mime_type,
        size_bytes=len(document.content),
        sha256=hashlib.sha256(document.content).hexdigest(),
        metadata={},
    )


def edited_step(request: HttpRequest, workflow: Workflow, validator: Validator) -> Step | None:
    """Return the step whose page sent the request; None for a new one."""
    order = positive_number(request.POST.get("order", ""))
    return workflow.steps.filter(order=order, validator=validator).first()


def chosen_document(request: HttpRequest, workflow: Workflow) -> Document:
    """Return the file or the sample that was chosen. Raises ValueError."""
    file = request.FILES.get("trial-file")
    if file:
        if (file.size or 0) > MAX_TRIAL_BYTES:
            text = _("%(name)s is larger than %(limit)s bytes; start a run with it.")
            raise ValueError(text % {"name": file.name, "limit": f"{MAX_TRIAL_BYTES:,}"})
        return Document(file.read(), file.name or "file", file.content_type or "")
    sample = positive_number(request.POST.get("trial-sample", ""))
    chosen = workflow.samples.filter(pk=sample).first()
    if chosen is None:
        raise ValueError(_("Choose a sample or a file to try the step on."))
    return Document(bytes(chosen.content), chosen.filename, "")


def _first(form: StepForm) -> str:
    """Return the first error of a form, with the label of its field."""
    for part in (
        form.texts,
        form.config.fields,
        form.files,
        *form.signals.forms,
        *form.assertions.forms,
    ):
        for name, errors in part.errors.items():
            label = part.fields[name].label if name in part.fields else ""
            return f"{label}: {errors[0]}" if label else str(errors[0])
    return _("see below.")
