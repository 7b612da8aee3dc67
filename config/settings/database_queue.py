"""The queue in the product's own database, for deployments without Cloud Tasks."""

import tomllib
from typing import Any

from config.env import BASE_DIR
from config.settings.base import TASK_QUEUES

_SCHEDULES = tomllib.loads((BASE_DIR / "config" / "schedules.toml").read_text(encoding="utf-8"))
# In this order: ours replaces procrastinate's page in the admin site.
APPS = ["procrastinate.contrib.django", "validibot.dispatch.database"]
TASKS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "validibot.dispatch.database.backend.DatabaseBackend",
        "QUEUES": TASK_QUEUES,
        "OPTIONS": {
            "periodic": {each["task"]: each["cron"] for each in _SCHEDULES["schedules"]},
        },
    }
}
