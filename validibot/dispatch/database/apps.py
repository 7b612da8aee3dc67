"""App configuration. The app is installed after procrastinate's if TASKS is the database queue."""

from django.apps import AppConfig


class DatabaseQueueConfig(AppConfig):
    name = "validibot.dispatch.database"
    label = "queue"
    verbose_name = "Queue"
