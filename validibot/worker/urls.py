"""Routes."""

from django.urls import URLPattern, URLResolver, path

from validibot.worker import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("internal/tasks/", views.tasks),
    path("internal/callbacks/", views.callbacks),
    path("internal/capabilities/", views.capabilities),
    path("internal/schedules/reconcile/", views.reconcile),
    path("internal/schedules/purge/", views.purge),
]
