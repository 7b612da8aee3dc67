"""Page of the samples of a workflow: see, add, start and delete small files to try it with."""

import re
from typing import Any

from django import forms
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from validibot.accounts import audit
from validibot.accounts.scope import Scope
from validibot.web.editor.access import editor, editor_page
from validibot.web.forms import NameField
from validibot.web.inputs_form import InputsForm
from validibot.workflows.document import FILE_NAME, MAX_SAMPLES
from validibot.workflows.importing import MAX_SAMPLE_BYTES
from validibot.workflows.inputs import input_faults
from validibot.workflows.models import Workflow


class SampleForm(forms.Form):
    """A new sample."""

    file = forms.FileField(label=gettext_lazy("File"), max_length=200)
    title = NameField(label=gettext_lazy("Title"), required=False)
    passes = forms.TypedChoiceField(
        label=gettext_lazy("Its run"),
        coerce=lambda text: text == "pass",
        choices=[("pass", gettext_lazy("should pass")), ("fail", gettext_lazy("should fail"))],
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if not re.search(FILE_NAME, file.name):
            message = _("The name %s cannot be used. Rename the file to letters and digits.")
            raise forms.ValidationError(message % repr(file.name[:80]))
        if file.size > MAX_SAMPLE_BYTES:
            message = _("%(name)s has %(size)s bytes; a sample may have %(limit)s.")
            sizes = {"size": f"{file.size:,}", "limit": f"{MAX_SAMPLE_BYTES:,}"}
            raise forms.ValidationError(message % {"name": file.name, **sizes})
        return file


@editor
@require_http_methods(["GET", "POST"])
def samples(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponseBase:
    """List the samples of the newest version; add one to it."""
    posted = (request.POST, request.FILES) if request.method == "POST" else ()
    form, faults = SampleForm(*posted), {}
    inputs = InputsForm(workflow, request.POST if posted else None)
    if posted:
        faults = input_faults(workflow.input_schema, inputs.metadata())
        inputs = InputsForm(workflow, request.POST, faults=faults)
        if form.is_valid() and not faults and _add(workflow, form, inputs.metadata()):
            messages.success(request, _("Sample added."))
            return redirect("samples", scope.organisation.slug, workflow.slug)
    return editor_page(
        request,
        scope,
        workflow,
        "samples.html",
        form=form,
        inputs=inputs,
        samples=workflow.samples.defer("content"),
        status=422 if posted else 200,
    )


@editor
@require_POST
def delete_sample(request: HttpRequest, scope: Scope, workflow: Workflow, pk: int) -> HttpResponse:
    """Delete a sample of the newest version."""
    sample = get_object_or_404(workflow.samples.defer("content"), pk=pk)
    with transaction.atomic():
        audit.record(scope.organisation, "sample.deleted", f"{workflow.slug}: {sample.filename}")
        sample.delete()
    messages.success(request, _("Sample deleted."))
    return redirect("samples", scope.organisation.slug, workflow.slug)


def _add(workflow: Workflow, form: SampleForm, metadata: dict[str, str]) -> bool:
    """Add a sample, or show in the form why not; return whether it was added."""
    file, values = form.cleaned_data["file"], form.cleaned_data
    with transaction.atomic():
        Workflow.locked(workflow.pk)
        if workflow.samples.count() >= MAX_SAMPLES:
            message = _("A workflow has at most %(count)d samples. Delete one first.")
            form.add_error(None, message % {"count": MAX_SAMPLES})
            return False
        try:
            with transaction.atomic():
                workflow.samples.create(
                    filename=file.name,
                    title=values["title"],
                    passes=values["passes"],
                    content=file.read(),
                    metadata=metadata,
                )
        except IntegrityError:
            message = _("There is a sample %(name)s already. Delete it first, or rename the file.")
            form.add_error("file", message % {"name": file.name})
            return False
        audit.record(workflow.organisation_id, "sample.added", f"{workflow.slug}: {file.name}")
    return True
