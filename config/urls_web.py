"""URLs of the public service: pages and the public API."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("validibot.core.health")),
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
