"""Routes of the private worker."""

from django.urls import path

from validibot.worker import views

urlpatterns = [
    path("internal/tasks/", views.tasks),
    path("internal/callbacks/", views.callbacks),
    path("internal/schedules/reconcile/", views.reconcile_runs),
]
