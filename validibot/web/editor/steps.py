"""Pages of the steps of a workflow: choose a validator, configure, order, disable, delete."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import F, Max
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from validibot.accounts.scope import Scope
from validibot.engines import BadDocument, EngineBusy
from validibot.engines.tabular import infer_schema
from validibot.web.editor.access import editor, editor_page, report_saved
from validibot.web.editor.step_forms import StepForm
from validibot.web.editor.trial import chosen_document, edited_step
from validibot.web.forms import Refusals
from validibot.web.parameters import positive_number
from validibot.workflows import editing, fmu
from validibot.workflows.document import MAX_STEPS
from validibot.workflows.models import Step, Validator, Workflow
from validibot.workflows.scope import names_in_scope, names_of_row
from validibot.workflows.versions import newest

MAX_VARIABLES = 2000
TABULAR = "tabular"
# Orders above all that a step can have, for the moment in which steps change places.
_ASIDE = 1_000_000


@editor
@require_GET
def steps(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponse:
    """List the steps in their order."""
    listed = workflow.steps.select_related("validator").prefetch_related("assertions")
    return editor_page(request, scope, workflow, "steps.html", steps=listed)


@editor
@require_GET
def add_step(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponse:
    """Choose the validator of a new step."""
    offered = Validator.objects.for_new_steps(scope.organisation, scope.role)
    validators = offered.order_by("-engine", "title", "pk")
    return editor_page(request, scope, workflow, "add_step.html", validators=validators)


@editor
@require_http_methods(["GET", "POST"])
def new_step(
    request: HttpRequest, scope: Scope, workflow: Workflow, validator: int
) -> HttpResponseBase:
    """Configure a new step and add it at the end."""
    offered = Validator.objects.for_new_steps(scope.organisation, scope.role)
    chosen = get_object_or_404(offered, pk=validator)
    form = _form(request, workflow, chosen, None)
    if request.method == "POST" and form.is_valid():
        with _refusals(form) as edit, editing.editing(workflow, form.token) as draft:
            form.save(Step(workflow=draft, order=_next_order(draft), validator=chosen))
        if not edit.refused:
            saved = newest(workflow)
            report_saved(request, workflow, saved)
            return redirect("step", scope.organisation.slug, workflow.slug, _next_order(saved) - 1)
    return _show(request, scope, workflow, form, order=None)


@editor
@require_http_methods(["GET", "POST"])
def step(request: HttpRequest, scope: Scope, workflow: Workflow, order: int) -> HttpResponseBase:
    """Change the settings, files and assertions of a step."""
    found = step_at(workflow, order)
    form = _form(request, workflow, found.validator, found)
    if request.method == "POST" and form.is_valid():
        with _refusals(form) as edit, editing.editing(workflow, form.token) as draft:
            form.save(draft.steps.select_related("validator", "workflow").get(order=order))
        if not edit.refused:
            report_saved(request, workflow, newest(workflow))
            return redirect("step", scope.organisation.slug, workflow.slug, order)
    return _show(request, scope, workflow, form, order=order)


@editor
@require_POST
def infer_settings(
    request: HttpRequest, scope: Scope, workflow: Workflow, validator: int
) -> HttpResponseBase:
    """Show the form with settings that the chosen sample satisfies; nothing is saved."""
    chosen = get_object_or_404(Validator, pk=validator, is_active=True, engine=TABULAR)
    found = edited_step(request, workflow, chosen)
    form = _form(request, workflow, chosen, found)
    try:
        document = chosen_document(request, workflow)
        form.use_settings(infer_schema(document.content, document.filename))
    except EngineBusy:
        messages.error(request, _("The server is busy. Try again in a moment."))
    except (BadDocument, ValueError) as error:
        messages.error(request, str(error))
    else:
        text = _("The settings are those that %(name)s satisfies. Check them, then save the step.")
        messages.success(request, text % {"name": document.filename})
    order = found.order if found else None
    return _show(request, scope, workflow, form, order=order, status=200)


@editor
@require_POST
def change_step(
    request: HttpRequest, scope: Scope, workflow: Workflow, order: int
) -> HttpResponseBase:
    """Move, enable, disable or delete a step."""
    step_at(workflow, order)
    action = _ACTIONS.get(request.POST.get("action", ""))
    if action is None:
        return HttpResponseBadRequest(_("Choose what to do with the step."))
    try:
        with editing.editing(workflow, request.POST.get("token", "")) as draft:
            action(draft, order)
    except (editing.StaleEdit, Step.DoesNotExist):
        messages.error(request, _stale_text())
    else:
        report_saved(request, workflow, newest(workflow))
    return redirect("steps", scope.organisation.slug, workflow.slug)


@editor
@require_POST
def order_steps(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponseBase:
    """Put the steps into the order that was sent: their old numbers, in the new order."""
    wanted = [*map(positive_number, request.POST.getlist("order")[: MAX_STEPS + 1])]
    try:
        with editing.editing(workflow, request.POST.get("token", "")) as draft:
            _reorder(draft, wanted)
    except editing.StaleEdit:
        messages.error(request, _stale_text())
    else:
        report_saved(request, workflow, newest(workflow))
    return redirect("steps", scope.organisation.slug, workflow.slug)


def _next_order(workflow: Workflow) -> int:
    """Return the number of a further step. Raises ValidationError."""
    last: int = workflow.steps.aggregate(last=Max("order"))["last"] or 0
    if last >= MAX_STEPS:
        raise ValidationError(_("A workflow has at most %s steps.") % MAX_STEPS)
    return last + 1


def step_at(workflow: Workflow, order: int) -> Step:
    """Return a step with its validator. Raises Http404."""
    found: Step = get_object_or_404(
        workflow.steps.select_related("validator", "workflow"), order=order
    )
    return found


def _refusals(form: StepForm) -> Refusals:
    """Show the refusal of an edit in the form, which keeps what was typed."""

    def show(error: ValidationError) -> None:
        if isinstance(error, editing.StaleEdit):
            form.use_token(editing.token_of(error.current))
            form.texts.add_error(None, _stale_text(kept=True))
        else:
            form.texts.add_error(None, ValidationError(error.messages))

    return Refusals(show)


def _stale_text(*, kept: bool = False) -> str:
    if kept:
        return _(
            "Somebody changed this workflow while you were editing. Nothing you typed is lost: open"
            " the workflow in another tab to compare, then save again to replace that change."
        )
    return _("Somebody changed this workflow meanwhile. This is its state now; try again.")


def _form(
    request: HttpRequest, workflow: Workflow, validator: Validator, found: Step | None
) -> StepForm:
    sent: dict[str, Any] = {}
    if request.method == "POST":
        sent = {"data": request.POST, "files": request.FILES}
    return StepForm(validator, found, token=editing.token_of(workflow), **sent)


def _show(
    request: HttpRequest,
    scope: Scope,
    workflow: Workflow,
    form: StepForm,
    *,
    order: int | None,
    status: int | None = None,
) -> HttpResponse:
    named = form.step or Step(workflow=workflow, validator=form.validator)
    is_table = form.validator.engine == TABULAR
    return editor_page(
        request,
        scope,
        workflow,
        "step.html",
        form=form,
        step=form.step,
        order=order,
        samples=workflow.samples.defer("content"),
        names=names_in_scope(named),
        fmu=_fmu(form.step) if form.step else None,
        row_names=names_of_row(form.config.stored) if is_table else (),
        is_table=is_table,
        status=status or (422 if request.method == "POST" else 200),
    )


def _fmu(found: Step) -> dict[str, Any] | None:
    """Return the state of the step's FMU, its variables, and what the settings name wrongly."""
    description = fmu.description_of(found)
    if description is None:
        return None
    variables = fmu.variables_of(description)
    return {
        "description": description,
        "variables": [each for each in variables if each.causality != "local"][:MAX_VARIABLES],
        "problems": [each.message for each in fmu.name_problems(description, found.config)],
    }


def _delete(draft: Workflow, order: int) -> None:
    draft.steps.get(order=order).delete()
    _renumber(draft, list(draft.steps.values_list("order", flat=True)))


def _switch(draft: Workflow, order: int, *, on: bool) -> None:
    found = draft.steps.get(order=order)
    found.is_enabled = on
    found.save()


def _move(draft: Workflow, order: int, by: int) -> None:
    orders = list(draft.steps.values_list("order", flat=True))
    place = orders.index(order)
    other = max(0, min(place + by, len(orders) - 1))
    orders.insert(other, orders.pop(place))
    _renumber(draft, orders)


def _reorder(draft: Workflow, wanted: list[int]) -> None:
    """Put the steps into an order that names each of them once. Raises StaleEdit."""
    if sorted(wanted) != sorted(draft.steps.values_list("order", flat=True)):
        raise editing.StaleEdit(draft)
    _renumber(draft, wanted)


def _renumber(draft: Workflow, orders: list[int]) -> None:
    """Give the steps the numbers 1, 2, … in the order of `orders`, their old numbers."""
    draft.steps.update(order=F("order") + _ASIDE)
    for number, old in enumerate(orders, start=1):
        draft.steps.filter(order=old + _ASIDE).update(order=number)


_ACTIONS = {
    "up": lambda draft, order: _move(draft, order, -1),
    "down": lambda draft, order: _move(draft, order, 1),
    "enable": lambda draft, order: _switch(draft, order, on=True),
    "disable": lambda draft, order: _switch(draft, order, on=False),
    "delete": _delete,
}
