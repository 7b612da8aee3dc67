"""Pages of the schedules of a workflow: list, create, change, run, pause and delete them."""

import re
from typing import Any

from cronsim import CronSim
from django import forms
from django.contrib import messages
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts.profile import time_zones
from validibot.accounts.scope import Scope
from validibot.runs import queue
from validibot.runs.models import Run
from validibot.web.editor.access import editor, editor_page
from validibot.web.forms import NameField, refusals_on, refusals_told
from validibot.web.inputs_form import InputsForm
from validibot.workflows import schedules as service
from validibot.workflows.document import FILE_NAME
from validibot.workflows.inputs import input_faults
from validibot.workflows.models import Workflow, WorkflowSchedule

SHOWN_TIMES = 5
SHOWN_RUNS = 20


class ScheduleForm(forms.Form):
    """The times of a schedule and its file."""

    name = NameField(label=gettext_lazy("Name"))
    cron = forms.CharField(
        label=gettext_lazy("When"),
        max_length=100,
        help_text=gettext_lazy(
            "Minute, hour, day, month and day of the week: 0 7 * * 1-5 is at 7:00 on weekdays,"
            " */30 * * * * every half hour."
        ),
        widget=forms.TextInput({"placeholder": "0 7 * * 1-5", "class": "code"}),
    )
    time_zone = forms.ChoiceField(label=gettext_lazy("Time zone"))
    url = forms.CharField(
        label=gettext_lazy("Address of the file"),
        required=False,
        max_length=500,
        help_text=gettext_lazy(
            "It is fetched for each run. It must be public, begin with https:// and not redirect."
        ),
        widget=forms.URLInput({"placeholder": "https://example.org/readings.json"}),
    )
    file = forms.FileField(label=gettext_lazy("Or a file to keep"), required=False, max_length=200)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        zones = self.fields["time_zone"]
        assert isinstance(zones, forms.ChoiceField)
        zones.choices = [(name, name.replace("_", " ")) for name in time_zones()]

    def clean_file(self) -> tuple[str, bytes] | None:
        file = self.cleaned_data["file"]
        if file is None:
            return None
        if not re.search(FILE_NAME, file.name):
            message = _("The name %s cannot be used. Rename the file to letters and digits.")
            raise forms.ValidationError(message % repr(file.name[:80]))
        # One byte more than is allowed: the service refuses it.
        return file.name, file.read(service.MAX_FILE_BYTES + 1)


@editor
@require_http_methods(["GET", "POST"])
def schedules(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponseBase:
    """List the schedules of a workflow; POST creates one."""
    initial = {"time_zone": scope.user.time_zone or "UTC"}
    form, inputs = _forms(request, workflow, initial)
    if form.is_valid() and not inputs.errors:
        with refusals_on(form):
            values = form.cleaned_data | {"metadata": inputs.metadata()}
            made = service.create(workflow, user=scope.user, **values)
            messages.success(request, _("Schedule created. The page shows its next times."))
            return redirect("schedule", scope.organisation.slug, workflow.slug, made.pk)
    return editor_page(
        request,
        scope,
        workflow,
        "schedules.html",
        form=form,
        inputs=inputs,
        schedules=_with_last_runs(workflow),
        status=422 if request.method == "POST" else 200,
    )


@editor
@require_http_methods(["GET", "POST"])
def schedule(request: HttpRequest, scope: Scope, workflow: Workflow, pk: int) -> HttpResponseBase:
    """Show the next times and the last runs of a schedule; POST changes it."""
    found = _find(workflow, pk)
    initial = {name: getattr(found, name) for name in ("name", "cron", "time_zone", "url")}
    form, inputs = _forms(request, workflow, initial, metadata=found.metadata)
    if form.is_valid() and not inputs.errors:
        with refusals_on(form):
            values = form.cleaned_data | {"metadata": inputs.metadata()}
            if values["file"]:
                values["url"] = "" if values["url"] == found.url else values["url"]
            service.change(found, **values)
            messages.success(request, _("Saved."))
            return redirect("schedule", scope.organisation.slug, workflow.slug, pk)
        found = _find(workflow, pk)
    times = service.next_times(found.cron, found.time_zone, timezone.now(), SHOWN_TIMES)
    return editor_page(
        request,
        scope,
        workflow,
        "schedule.html",
        form=form,
        inputs=inputs,
        schedule=found,
        explanation=CronSim(found.cron, timezone.now()).explain(),
        times=[] if found.is_paused else times,
        runs=found.runs.select_related("submission", "workflow", "user")
        .defer("submission__inline")
        .order_by("-created_at")[:SHOWN_RUNS],
        status=422 if request.method == "POST" else 200,
    )


@editor
@require_POST
def switch_schedule(
    request: HttpRequest, scope: Scope, workflow: Workflow, pk: int
) -> HttpResponse:
    """Pause or resume a schedule, as `state` says."""
    found, state = _find(workflow, pk), request.POST.get("state", "")
    if state == "pause":
        service.pause(found)
        messages.success(request, _("Schedule paused."))
    elif state == "resume":
        service.resume(found, user=scope.user)
        messages.success(request, _("Schedule resumed. Its runs are yours from now on."))
    else:
        messages.error(request, _("Choose pause or resume."))
    return redirect("schedule", scope.organisation.slug, workflow.slug, pk)


@editor
@require_POST
def run_schedule(request: HttpRequest, scope: Scope, workflow: Workflow, pk: int) -> HttpResponse:
    """Start the run of a schedule now, as at its times."""
    with refusals_told(request):
        queue.enqueue_schedule(service.run_now(_find(workflow, pk)), timezone.now())
        messages.success(request, _("The run was requested. It appears below once it has started."))
    return redirect("schedule", scope.organisation.slug, workflow.slug, pk)


@editor
@require_POST
def delete_schedule(
    request: HttpRequest, scope: Scope, workflow: Workflow, pk: int
) -> HttpResponse:
    """Delete a schedule; its runs stay."""
    service.delete(_find(workflow, pk))
    messages.success(request, _("Schedule deleted. Its runs stay."))
    return redirect("schedules", scope.organisation.slug, workflow.slug)


def _with_last_runs(workflow: Workflow) -> list[tuple[WorkflowSchedule, Run | None]]:
    """Return the schedules of a workflow, each with the last run that it started, in two queries."""
    last = Run.objects.filter(schedule=OuterRef("pk")).order_by("-created_at").values("pk")[:1]
    listed = service.schedules_of(workflow).select_related("created_by")
    rows = [(each, each.last_run) for each in listed.annotate(last_run=Subquery(last))]
    runs = Run.objects.in_bulk([key for _, key in rows if key])
    return [(each, runs.get(key)) for each, key in rows]


def _find(workflow: Workflow, pk: int) -> WorkflowSchedule:
    listed = service.schedules_of(workflow).select_related("created_by")
    return get_object_or_404(listed, pk=pk)


def _forms(
    request: HttpRequest,
    workflow: Workflow,
    initial: dict[str, Any],
    *,
    metadata: dict[str, str] | None = None,
) -> tuple[ScheduleForm, InputsForm]:
    """Return the form of a schedule and that of its inputs, filled with what was sent."""
    if request.method != "POST":
        return ScheduleForm(initial=initial), InputsForm(workflow, initial=metadata)
    inputs = InputsForm(workflow, request.POST)
    faults = input_faults(workflow.input_schema, inputs.metadata())
    inputs = InputsForm(workflow, request.POST, faults=faults)
    return ScheduleForm(request.POST, request.FILES, initial=initial), inputs
