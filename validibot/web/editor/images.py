"""The featured image of a workflow: set and remove it, and the image itself for members."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from validibot.accounts.scope import Scope
from validibot.web.editor.access import editor, newest_of
from validibot.web.forms import refusals_told
from validibot.web.scope import member, require
from validibot.workflows import images
from validibot.workflows.models import Workflow, WorkflowImage


@editor
@require_POST
def change_image(request: HttpRequest, scope: Scope, workflow: Workflow) -> HttpResponse:
    """Set the featured image, or remove it as `action` says."""
    file: Any = request.FILES.get("image")
    if request.POST.get("action") == "remove":
        images.remove_image(workflow)
        messages.success(request, _("Image removed."))
    elif file is None:
        messages.error(request, _("Choose an image first."))
    else:
        with refusals_told(request):
            images.set_image(workflow, file.name, file.read(images.MAX_BYTES + 1))
            messages.success(request, _("Image saved."))
    return redirect("edit-workflow", scope.organisation.slug, workflow.slug)


@member
@require_GET
def workflow_image(request: HttpRequest, scope: Scope, slug: str) -> HttpResponse:
    """Answer with the featured image of a workflow that the user may see."""
    if not scope.can_see(slug):
        raise Http404
    require(scope, "workflow.view")
    return image_response(newest_of(scope, slug))


def image_response(workflow: Workflow) -> HttpResponse:
    """Return the featured image of a workflow. Raises Http404."""
    rows = WorkflowImage.objects.filter(
        organisation=workflow.organisation_id, workflow=workflow.slug
    )
    found = rows.first()
    if found is None:
        raise Http404
    return HttpResponse(bytes(found.content), content_type=images.MIME_TYPE)
