"""Pages that create, change, import and export workflows."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from validibot.accounts.scope import Scope
from validibot.core.downloads import whole
from validibot.web.editor.access import author, editor, editor_page, is_archived, report_saved
from validibot.web.editor.forms import (
    ConstantFormSet,
    ImportForm,
    WorkflowForm,
    constant_rows,
)
from validibot.web.forms import refusals_told
from validibot.web.scope import page
from validibot.workflows import editing
from validibot.workflows.document import ImportInvalid
from validibot.workflows.exporting import ExportTooLarge, export_bundle, export_text
from validibot.workflows.images import image_of
from validibot.workflows.importing import import_workflow as import_file
from validibot.workflows.models import Workflow
from validibot.workflows.versions import newest

_CONTENT = ("name", "description", "success_message", "accepted_types", "input_schema")
_FIELDS = (*_CONTENT, *Workflow.SHARED_PROPERTIES, "project", "slug")


@author
@require_http_methods(["GET", "POST"])
def new_workflow(request: HttpRequest, scope: Scope) -> HttpResponseBase:
    """Create a workflow without steps."""
    form = WorkflowForm(scope.organisation, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        values = {name: form.cleaned_data[name] for name in _FIELDS}
        try:
            made = editing.create(scope.organisation, author=scope.user, **values)
        except ValidationError as error:
            _add_errors(form, error)
        else:
            return redirect("steps", scope.organisation.slug, made.slug)
    status = 422 if form.errors else 200
    return page(request, scope, "editor/new_workflow.html", form=form, status=status)


@editor
@require_http_methods(["GET", "POST"])
def edit_workflow(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponseBase:
    """Change the texts, properties and constants of a workflow."""
    posted = request.POST if request.method == "POST" else None
    initial = WorkflowForm.values_of(workflow) | {"token": editing.token_of(workflow)}
    form = WorkflowForm(scope.organisation, posted, initial=initial)
    constants = ConstantFormSet(
        posted, prefix="constants", initial=constant_rows(workflow.constants)
    )
    stale = None
    if posted is not None and all([form.is_valid(), constants.is_valid()]):
        try:
            saved = _save(workflow, form, constants)
        except editing.StaleEdit as error:
            stale = error.current
            form = _with_token(form, stale)
        except ValidationError as error:
            _add_errors(form, error)
        else:
            report_saved(request, workflow, saved)
            return redirect("edit-workflow", scope.organisation.slug, saved.slug)
    has_errors = bool(form.errors) or not (posted is None or constants.is_valid())
    return editor_page(
        request,
        scope,
        workflow,
        "edit_workflow.html",
        form=form,
        constants=constants,
        stale=stale,
        image=image_of(workflow),
        is_archived=is_archived(workflow),
        status=409 if stale else 422 if has_errors else 200,
    )


def _save(workflow: Workflow, form: WorkflowForm, constants: Any) -> Workflow:
    """Save an edit. Raises StaleEdit and ValidationError."""
    values = form.cleaned_data
    with editing.editing(workflow, values["token"]) as draft:
        for name in _CONTENT:
            setattr(draft, name, values[name])
        draft.constants = constants.constants()
        draft.save()
        editing.rename(workflow, values["slug"])
        editing.move(workflow, values["project"])
        shared = {name: values[name] for name in Workflow.SHARED_PROPERTIES}
        editing.set_properties(workflow, **shared)
    return newest(workflow)


def _with_token(form: WorkflowForm, current: Workflow) -> WorkflowForm:
    """Return the form with all that was typed, and the token of the state now."""
    data = form.data.copy()  # type: ignore[attr-defined]
    data["token"] = editing.token_of(current)
    form.data = data
    return form


def _add_errors(form: WorkflowForm, error: ValidationError) -> None:
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for name, errors in error.error_dict.items():
        form.add_error(name if name in form.fields else None, ValidationError(errors))


@editor
@require_POST
def clone_workflow(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponseBase:
    """Copy the newest version as a workflow of its own."""
    shown = workflow
    with refusals_told(request):
        shown = editing.clone(workflow, author=scope.user)
        messages.success(request, _("This is your copy of %(name)s.") % {"name": workflow.name})
    return redirect("edit-workflow", scope.organisation.slug, shown.slug)


@editor
@require_POST
def archive_workflow(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponseBase:
    """Take the workflow out of the lists; restore it if it is archived already."""
    if request.POST.get("action") == "restore":
        editing.restore(workflow)
        messages.success(request, _("Restored: the workflow can be run again."))
    else:
        editing.archive(workflow)
        messages.success(request, _("Archived: no new runs are started; old ones stay."))
    return redirect("edit-workflow", scope.organisation.slug, workflow.slug)


@editor
@require_POST
def delete_workflow(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponseBase:
    """Delete a workflow that has no runs, once its slug is typed."""
    org = scope.organisation.slug
    if request.POST.get("confirmation", "") != workflow.slug:
        text = _("Not deleted: type %(slug)s to confirm.") % {"slug": workflow.slug}
        messages.error(request, text)
        return redirect("edit-workflow", org, workflow.slug)
    try:
        editing.delete(workflow)
    except editing.HasRuns as error:
        messages.error(request, str(error))
        return redirect("edit-workflow", org, workflow.slug)
    messages.success(request, _("%(name)s was deleted.") % {"name": workflow.name})
    return redirect("workflows", org)


@author
@require_http_methods(["GET", "POST"])
def import_workflow(request: HttpRequest, scope: Scope) -> HttpResponseBase:
    """Import a workflow file; list all its problems, each with its line."""
    posted = (request.POST, request.FILES) if request.method == "POST" else ()
    form = ImportForm(*posted)
    problems: Any = ()
    if posted and form.is_valid():
        try:
            made = import_file(
                form.content(),
                organisation=scope.organisation,
                author=scope.user,
                update=form.cleaned_data["update"],
            )
        except ImportInvalid as error:
            problems = error.problems
        else:
            text = _("Imported as version %(version)s.") % {"version": made.version}
            messages.success(request, text)
            return redirect("steps", scope.organisation.slug, made.slug)
    status = 422 if problems or form.errors else 200
    return page(request, scope, "editor/import.html", form=form, problems=problems, status=status)


@editor
@require_GET
def export_workflow(
    request: HttpRequest, scope: Scope, workflow: Workflow, version: int, kind: str
) -> HttpResponseBase:
    """Download a version as a text or a bundle."""
    found = get_object_or_404(editing.versions_of(workflow), version=version)
    if kind == "zip":
        content = export_bundle(found)
    else:
        try:
            content = export_text(found).encode()
        except ExportTooLarge as error:
            messages.error(request, str(error))
            return redirect("versions", scope.organisation.slug, workflow.slug)
    return whole(content, name=f"{found.slug}-v{found.version}.{kind}")
