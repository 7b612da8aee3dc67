"""Permissions on runs: those that a member of an organisation may see and cancel."""

from django.db.models import QuerySet

from validibot.accounts.scope import Scope
from validibot.runs.models import Run


def visible_runs(scope: Scope) -> QuerySet[Run]:
    """Return the runs of the organisation that the user may see."""
    runs = Run.objects.filter(organisation=scope.organisation)
    return runs if scope.can("run.view_all") else runs.filter(user=scope.user)


def may_cancel(scope: Scope, run: Run) -> bool:
    own = run.user_id == scope.user.pk
    return scope.can("run.cancel_own" if own else "run.cancel_all")
