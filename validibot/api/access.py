"""Access of an API request: the scope in the organisation, and the workflow or run that is named."""

from uuid import UUID

from rest_framework.request import Request

from validibot.accounts.models import ApiKey, KeyScope, User
from validibot.accounts.regions import OrganisationElsewhere, check_served
from validibot.accounts.scope import NotAMember, Scope, scope_of
from validibot.api.lists import invalid, query_number
from validibot.core.problems import ApiError
from validibot.runs.access import visible_runs
from validibot.runs.models import Run
from validibot.workflows.models import Workflow
from validibot.workflows.select import WorkflowNotFound, find_visible_workflow

MAX_VERSION = 2**31 - 1


def user_of(request: Request) -> User:
    """Return the user of the request's key or session."""
    assert isinstance(request.user, User)
    return request.user


def calling_key(request: Request) -> ApiKey | None:
    """Return the key that makes the request, or None for a session."""
    caller = request.auth
    if isinstance(caller, Scope):
        return caller.key
    return caller if isinstance(caller, ApiKey) else None


def person_of(request: Request, detail: str) -> User:
    """Return the user. Raises ApiError with `detail` for a service key, which belongs to an organisation."""
    user = user_of(request)
    if user.service_of_id:
        raise ApiError(403, "PERMISSION_DENIED", detail)
    return user


def check_key_scope(request: Request, scope: KeyScope) -> None:
    """Raise ApiError if the request was made with an API key without the scope."""
    key = calling_key(request)
    if key and scope not in key.scopes.split():
        detail = f"This request needs an API key with the scope {scope}."
        raise ApiError(403, "PERMISSION_DENIED", detail)


def scope_in(request: Request, org: str, permission: str = "") -> Scope:
    """Return the scope in `org`. Raises ApiError: 404 for strangers, 403 without `permission`."""
    if isinstance(request.auth, Scope):  # loaded together with the API key
        scope = request.auth
    else:
        try:
            scope = scope_of(user_of(request), org)
        except NotAMember as error:
            raise ApiError(404, "NOT_FOUND", str(error)) from error
    try:
        check_served(scope.organisation)
    except OrganisationElsewhere as error:
        headers = {"Location": error.site + request.get_full_path()} if error.site else {}
        raise ApiError(421, "ORGANISATION_ELSEWHERE", str(error), headers=headers) from error
    if permission and not scope.can(permission):
        raise refused(scope, permission)
    return scope


def refused(scope: Scope, permission: str) -> ApiError:
    """Return the answer to a request that needs `permission`."""
    return ApiError(403, "PERMISSION_DENIED", scope.refusal(permission))


def workflow_of(request: Request, scope: Scope, ident: str, version: int = 0) -> Workflow:
    """Return the workflow that path and query name. Raises ApiError."""
    asked = query_number(request, "version", maximum=MAX_VERSION)
    if version and asked not in (None, version):
        raise invalid("version", str(asked), f"{version}, as in the path, or left out")
    wanted = version or asked
    project = request.query_params.get("project") or None
    try:
        return find_visible_workflow(scope, ident, version=wanted, project=project)
    except WorkflowNotFound as error:
        raise ApiError(404, "NOT_FOUND", str(error)) from error


def find_run(scope: Scope, pk: UUID) -> Run:
    """Return a run that the scope may see. Raises ApiError."""
    run = visible_runs(scope).filter(pk=pk).first()
    if run is None:
        raise no_run(pk)
    return run


def no_run(pk: UUID) -> ApiError:
    """Return the answer to a request for a run that does not exist, or that must not be seen."""
    return ApiError(404, "NOT_FOUND", f"There is no run {pk} in this organisation.")
