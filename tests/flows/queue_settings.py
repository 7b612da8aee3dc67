"""Settings of the queue's workers in tests: local mode with the database queue, in a hurry."""

from config.settings.local import *

RUN_LEASE_SECONDS = 2
TASKS = {
    "default": TASKS["default"]
    | {
        "OPTIONS": TASKS["default"]["OPTIONS"]
        | {"lease_seconds": 3, "poll_seconds": 0.2, "min_backoff": 0.2, "max_backoff": 2}
    }
}
