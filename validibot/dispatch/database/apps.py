"""App configuration: installed, after procrastinate's own, where TASKS is the database queue."""

from django.apps import AppConfig


class DatabaseQueueConfig(AppConfig):
    name = "validibot.dispatch.database"
    label = "queue"
    verbose_name = "Queue"
