"""Instances and long-running operations of Cloud SQL, whose API has operations of its own kind."""

from google.cloud import sqladmin_v1 as sqladmin

from deploy.errors import DeployError
from deploy.google import GoogleCloud, pauses

_CREATION_SECONDS = 1800.0  # ten minutes, usually
_DONE = sqladmin.Operation.SqlOperationStatus.DONE


def instances_of(cloud: GoogleCloud) -> list[sqladmin.DatabaseInstance]:
    """Return all instances of a project."""
    request = sqladmin.SqlInstancesListRequest(project=cloud.project)
    found: list[sqladmin.DatabaseInstance] = []
    while True:
        answer = cloud.sql_instances.list(request=request)
        found += answer.items
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def finish_running(cloud: GoogleCloud, instance: str) -> None:
    """Wait for operations on an instance that are in progress; their errors are not ours."""
    request = sqladmin.SqlOperationsListRequest(project=cloud.project, instance=instance)
    for operation in cloud.sql_operations.list(request=request).items:
        _wait(cloud, operation)


def finish_sql(cloud: GoogleCloud, operation: sqladmin.Operation) -> None:
    """Wait for an operation. Raises DeployError if it fails."""
    ended = _wait(cloud, operation)
    if ended.error.errors:
        texts = "; ".join(each.message.rstrip(".") for each in ended.error.errors)
        raise DeployError(
            f"database/{ended.target_id}: {texts}. See `gcloud sql operations describe "
            f"{ended.name}`, mend it, then run `apply` again."
        )


def _wait(cloud: GoogleCloud, operation: sqladmin.Operation) -> sqladmin.Operation:
    """Return an operation when it is done. Raises DeployError after half an hour."""
    request = sqladmin.SqlOperationsGetRequest(project=cloud.project, operation=operation.name)
    waiting = pauses(_CREATION_SECONDS)
    while operation.status != _DONE:
        if not next(waiting, False):
            raise DeployError(
                f"database/{operation.target_id}: the operation {operation.name} is in progress for half "
                "an hour. Run `apply` again, which waits for it."
            )
        operation = cloud.sql_operations.get(request=request)
    return operation
