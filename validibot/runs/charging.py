"""Charging of runs: what the end of a run does to the credits that its launch reserved.

A step is paid for when it was executed, or was under way when somebody cancelled the run. Steps that
were skipped are given back, and so is everything of a run that ended as ERROR or TIMED_OUT, which says
nothing about the file.
"""

from validibot.credits.ledger import ChargedRun, UsedStep, settle
from validibot.runs.models import Run
from validibot.runs.states import StepStatus

_REFUNDED_RESULTS = frozenset({"ERROR", "TIMED_OUT"})
_USED = (StepStatus.PASSED, StepStatus.FAILED, StepStatus.CANCELED)


def charged(run: Run) -> ChargedRun:
    """Return the run as the ledger knows it."""
    return ChargedRun(
        run=run.pk,
        organisation_id=run.organisation_id,
        workflow=run.workflow.slug,
        user_id=run.user_id,
    )


def settle_credits(run: Run) -> None:
    """Settle what the run has used of its credits; call it in the transaction that ends the run.

    A run without reserved credits costs no query.
    """
    if not run.credits:
        return
    used = run.steps.filter(status__in=_USED).order_by("order")
    # A retry has results before it is started: those that it takes over.
    if run.result in _REFUNDED_RESULTS or run.started_at is None:
        used = used.none()
    fields = ("order", "validator", "price")
    settle(charged(run), run.credits, [UsedStep(*row) for row in used.values_list(*fields)])
