"""The queue between web and worker, behind Django's own task framework.

`backend` is the base class of the queues `cloud_tasks` and `database`, and `delivery` runs the task
of a queue entry. A queue delivers at least once and in any order; a task is repeated until it
succeeds or has failed `max_attempts` times. Then it becomes a `DeadLetter`, which operators list and
requeue in the admin site or with `manage.py queue`. Tasks take ids as arguments, read the current
rows and change them by conditional updates, so a second delivery changes nothing.
"""


class TryLater(Exception):
    """Raised by a task that cannot be done now; the queue delivers it again."""
