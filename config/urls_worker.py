"""URLs of the private worker: what the queue, the scheduler and the validators may call."""

from django.urls import include, path

urlpatterns = [
    path("", include("validibot.core.health")),
    path("", include("validibot.worker.urls")),
]
handler400 = "validibot.core.problems.bad_request"
handler403 = "validibot.core.problems.forbidden"
handler404 = "validibot.core.problems.not_found"
handler500 = "validibot.core.problems.server_error"
