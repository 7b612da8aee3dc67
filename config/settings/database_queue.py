"""The queue in the product's own database, for deployments without Cloud Tasks."""

from typing import Any

# In this order: ours replaces procrastinate's page in the admin site.
APPS = ["procrastinate.contrib.django", "validibot.dispatch.database"]
TASKS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "validibot.dispatch.database.backend.DatabaseBackend",
        "OPTIONS": {
            "periodic": {
                "validibot.runs.tasks.sweep": "* * * * *",
                "validibot.runs.tasks.purge_old": "17 3 * * *",
            }
        },
    }
}
