"""The queue between web and worker, behind Django's own task framework.

`backend` is what the queues share, `cloud_tasks` and `database` are the queues, and `delivery` runs
a task wherever an entry arrives. A queue delivers at least once and in any order; a task is
repeated until it succeeds or has failed `max_attempts` times. Then it becomes a `DeadLetter`, which
operators list and requeue in the admin site or with `manage.py queue`. Tasks take ids as arguments,
read the state of what they work on, and change it by conditional updates: a second delivery finds
nothing left to do.
"""


class TryLater(Exception):
    """Raised by a task that cannot be done now for an outside reason; it is delivered again."""
