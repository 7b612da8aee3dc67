"""URLs of the private worker: the endpoints for the queue, the scheduler and the validators."""

from django.urls import URLPattern, URLResolver, include, path

from validibot.worker import views
from validibot.worker.access import access

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("validibot.core.health")),
    path("internal/access/", access),
    path("internal/tasks/", views.tasks),
    path("internal/callbacks/", views.callbacks),
    path("internal/capabilities/", views.capabilities),
    path("internal/schedules/reconcile/", views.reconcile),
    path("internal/schedules/purge/", views.purge),
    path("internal/schedules/digests/", views.digests),
    path("internal/schedules/figures/", views.figures),
]
handler400 = "validibot.core.problems.bad_request"
handler403 = "validibot.core.problems.forbidden"
handler404 = "validibot.core.problems.not_found"
handler500 = "validibot.core.problems.server_error"
