"""The queue in the product's own database, for deployments without Cloud Tasks."""

from typing import Any

from config.settings.base import SCHEDULES, TASK_QUEUES

# In this order: ours replaces procrastinate's page in the admin site.
APPS = ["procrastinate.contrib.django", "validibot.dispatch.database"]
TASKS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "validibot.dispatch.database.backend.DatabaseBackend",
        "QUEUES": TASK_QUEUES,
        "OPTIONS": {
            "periodic": {each["task"]: each["cron"] for each in SCHEDULES},
        },
    }
}
