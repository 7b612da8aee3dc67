"""URLs of a host with one public process: those of the public service, and the validators' door."""

from django.urls import path

from config.urls_web import handler400, handler403, handler404, handler500, urlpatterns as _public
from validibot.worker import views

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

# First: the pages end in patterns of their own. Tasks and schedules come from the queue here.
urlpatterns = [path("internal/callbacks/", views.callbacks), *_public]
