"""The OpenAPI document and its pages: Swagger UI and Redoc, from files of this server.

Both pages load under the Content-Security-Policy of all pages. Redoc makes empty `<style>` elements, which it
fills by script, and one with a fixed text; only these are allowed for it, by their digests.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.csp import csp_override
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import TemplateView

# https://www.w3.org/TR/CSP3/#grammardef-hash-source: of no text, and of Redoc's rule for its logo.
_REDOC_STYLES = [
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
]


@csrf_exempt  # it changes nothing: other methods are answered with 405, as in the whole API
def openapi_document(request: HttpRequest) -> HttpResponseBase:
    """Answer the OpenAPI document, as YAML or JSON."""
    # Imported late: drf-spectacular's generator is a fifth of the start, and few ask for the document.
    from drf_spectacular.views import SpectacularAPIView  # noqa: PLC0415

    return SpectacularAPIView.as_view()(request)


class SwaggerPage(TemplateView):
    """Operations of the API, with forms to try them."""

    template_name = "api/swagger.html"


@method_decorator(
    csp_override({**settings.SECURE_CSP, "style-src": ["'self'", *_REDOC_STYLES]}), name="dispatch"
)
class RedocPage(TemplateView):
    """The reference of the API, to read."""

    template_name = "api/redoc.html"


def name_operations(result: dict[str, Any], generator: Any, **_: Any) -> dict[str, Any]:
    """Give operations that have none a plain id, and each the tag of what it is about.

    A hook of drf-spectacular; generated clients name their functions and modules by these. The path of
    a version takes no other version in the query.
    """
    for path, methods in result["paths"].items():
        for operation in methods.values():
            operation["operationId"] = _IDS.get(operation["operationId"], operation["operationId"])
            operation["tags"] = [_tag(path)]
            if "{version}" in path:  # its view is that of the latest version, too
                operation["parameters"] = [
                    each
                    for each in operation["parameters"]
                    if (each["name"], each["in"]) != ("version", "query")
                ]
    return result


# A view that answers at two addresses, for the latest version and for one, cannot have one id.
_IDS = {
    "auth_me_retrieve": "get_me",
    "users_me_retrieve": "get_user",
    "orgs_workflows_retrieve": "get_workflow",
    "orgs_workflows_export_retrieve": "export_workflow",
    "orgs_workflows_runs_create": "start_run",
    "orgs_workflows_versions_retrieve": "get_workflow_version",
    "orgs_workflows_versions_export_retrieve": "export_workflow_version",
    "orgs_workflows_versions_runs_create": "start_run_of_version",
}


def _tag(path: str) -> str:
    """Return the segment behind the organisation; a launch belongs to the runs."""
    _, _, rest = path.partition("/orgs/{org}/")
    if not rest:
        return "organisations" if "/orgs/" in path else "account"
    return "runs" if rest.endswith("/runs/") else rest.split("/")[0]
