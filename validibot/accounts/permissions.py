"""What each role may do, as one table."""

from django.db.models import QuerySet

from validibot.accounts.models import Organisation, Role, User

_VIEWER = frozenset({"workflow.view", "run.view_own"})
_EXECUTOR = _VIEWER | {"run.launch", "run.cancel_own"}
_AUTHOR = _EXECUTOR | {"workflow.edit", "run.view_all"}
_ADMIN = _AUTHOR | {"run.cancel_all", "member.manage", "project.manage"}
_OWNER = _ADMIN | {"organisation.manage"}

PERMISSIONS: dict[str, frozenset[str]] = {
    Role.VIEWER: _VIEWER,
    Role.EXECUTOR: _EXECUTOR,
    Role.AUTHOR: _AUTHOR,
    Role.ADMIN: _ADMIN,
    Role.OWNER: _OWNER,
}


def organisations_of(user: User) -> QuerySet[Organisation]:
    """Return the organisations that `user` may see; a superuser is a member of all."""
    if user.is_superuser:
        return Organisation.objects.all()
    return Organisation.objects.filter(memberships__user=user)
