"""The page of templates: a new workflow with samples by one button."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from validibot.accounts.scope import Scope
from validibot.web.editor.access import author
from validibot.web.scope import page
from validibot.workflows.document import ImportInvalid
from validibot.workflows.gallery import all_templates, usable_templates, use_template


@author
@require_GET
def templates(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List the templates whose validators are installed."""
    usable = usable_templates(scope.organisation)
    return page(request, scope, "editor/templates.html", templates=usable)


@author
@require_POST
def use(request: HttpRequest, scope: Scope) -> HttpResponseBase:
    """Create a workflow from a template, and go to where it is run."""
    org, slug = scope.organisation.slug, request.POST.get("template", "")
    chosen = next((each for each in all_templates() if each.slug == slug), None)
    if chosen is None:
        messages.error(
            request, _("There is no template %s. Choose one of these.") % repr(slug[:60])
        )
        return redirect("templates", org)
    try:
        made = use_template(chosen, organisation=scope.organisation, author=scope.user)
    except ImportInvalid as error:
        messages.error(request, str(error.problems[0].message))
        return redirect("templates", org)
    messages.success(request, _("Created. Run it with one of its samples, or change its steps."))
    return redirect("workflow", org, made.slug)
