"""URLs of the private worker: what the queue, the scheduler and the validators may call."""

from django.urls import include, path

from validibot.core import health

urlpatterns = [
    path("health/", health.live),
    path("health/ready/", health.ready),
    path("", include("validibot.worker.urls")),
]
handler400 = "validibot.core.problems.bad_request"
handler403 = "validibot.core.problems.forbidden"
handler404 = "validibot.core.problems.not_found"
handler500 = "validibot.core.problems.server_error"
