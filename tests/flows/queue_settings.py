"""Settings of queue workers in tests: local mode with the database queue and short times."""

from config.settings import database_queue
from config.settings.local import *  # noqa: F403 - as every settings module does

RUN_LEASE_SECONDS = 2
_queue = database_queue.TASKS["default"]
_hurry = {"lease_seconds": 3, "poll_seconds": 0.2, "min_backoff": 0.2, "max_backoff": 2}
# Other periodic work is due at some minutes of an hour only: tests would depend on the time of day.
_sweep = {"periodic": {"validibot.runs.tasks.sweep": "* * * * *"}}
TASKS = {"default": _queue | {"OPTIONS": _queue["OPTIONS"] | _hurry | _sweep}}
