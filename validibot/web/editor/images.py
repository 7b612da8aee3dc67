"""The featured image of a workflow: set and remove it, and public media where no bucket serves them."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from validibot.accounts.scope import Scope
from validibot.core.storage import ObjectNotFound, media
from validibot.web.editor.access import editor
from validibot.web.forms import refusals_told
from validibot.workflows import images
from validibot.workflows.models import Workflow


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


@require_GET
def public_file(request: HttpRequest, name: str) -> HttpResponse:
    """Answer with a file of the public media, which never changes."""
    full = f"featured/{name}"
    if not images.NAME.fullmatch(full):
        raise Http404
    try:
        content = media.read(full)
    except ObjectNotFound:
        raise Http404 from None
    headers = {"Cache-Control": settings.MEDIA_CACHE_CONTROL}
    return HttpResponse(content, content_type="image/webp", headers=headers)
