"""The task of the scheduled pass, for queues with periodic tasks."""

from django.tasks import task

from validibot.core.scheduled_work import recorded
from validibot.dashboards.counting import count_days


@task
def count_figures() -> None:
    """Count the runs of the days that are open."""
    recorded("figures", count_days)
