"""Settings of queue workers in tests: local mode with the database queue and short times.

`POLL_SECONDS` is how often a worker looks at the queue that is not woken.
"""

import os

from config.settings import database_queue
from config.settings.local import *  # noqa: F403 - as every settings module does

RUN_LEASE_SECONDS = 2
_queue = database_queue.TASKS["default"]
_poll = float(os.environ.get("POLL_SECONDS", "0.2"))  # noqa: TID251 - of tests alone
_hurry = {"lease_seconds": 5, "poll_seconds": _poll, "min_backoff": 0.2, "max_backoff": 2}
# Other periodic work is due at some minutes of an hour only: tests would depend on the time of day.
_sweep = {"periodic": {"validibot.runs.tasks.sweep": "* * * * *"}}
TASKS = {"default": _queue | {"OPTIONS": _queue["OPTIONS"] | _hurry | _sweep}}
