"""URLs of the public service: pages and the public API."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def access(request: HttpRequest) -> HttpResponse:
    """Answer the scheduler's account as the worker does."""
    # Imported late: Google's libraries are not needed to serve pages.
    from validibot.worker.access import access as view  # noqa: PLC0415

    return view(request)


# Here rather than at the start of each process: the admin site imports half of the product.
admin.autodiscover()
urlpatterns = [
    path("", include("validibot.core.health")),
    path("internal/access/", access),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("api/v1/mcp/", include("validibot.mcp.urls")),
    path("api/v1/", include("validibot.api.urls")),
    path("", include("validibot.web.urls")),
]
handler400 = "validibot.core.problems.bad_request"
handler403 = "validibot.core.problems.forbidden"
handler404 = "validibot.core.problems.not_found"
handler500 = "validibot.core.problems.server_error"
