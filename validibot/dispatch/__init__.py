"""The queue between web and worker: Django's own task framework."""


class TryLater(Exception):
    """The task cannot be done now, through no fault of its own; the queue must deliver it again."""
