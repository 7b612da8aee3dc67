"""Names of Cloud SQL resources, and who may use them."""

from typing import Any

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import wrong_project
from devenv.gcp.sql.operations import SqlOperations
from devenv.gcp.sql.records import SqlRecords

_LINK = "https://sqladmin.googleapis.com/sql/v1beta4"


class SqlAccess:
    """Finds instances for callers."""

    def __init__(
        self, config: CloudConfig, guard: Guard, records: SqlRecords, operations: SqlOperations
    ) -> None:
        self._project = config.project
        self._projects = (config.project, config.number)
        self._guard = guard
        self._records = records
        self._operations = operations

    def allow(self, project: str, call: ApiCall, permission: str, instance: str = "") -> None:
        """Raise PermissionDenied unless the caller has a permission on an instance or the project."""
        if project not in self._projects:
            raise wrong_project(project[:100], "sqladmin.googleapis.com")
        resource = self.resource(instance) if instance else f"projects/{self._project}"
        self._guard.require(call.caller, f"cloudsql.{permission}", resource)

    def readable(self, request: Any, call: ApiCall, permission: str) -> Any:
        """Return the instance of a request. Raises PermissionDenied or NotFound."""
        self.allow(request.project, call, permission, request.instance)
        return self._records.instance(request.instance)

    def changeable(self, request: Any, call: ApiCall, permission: str) -> Any:
        """Return the same; raises Aborted while an operation on the instance is in progress."""
        instance = self.readable(request, call, permission)
        self._operations.check_idle(instance.name)
        return instance

    def resource(self, instance: str) -> str:
        return f"projects/{self._project}/instances/{instance}"

    def link(self, instance: str) -> str:
        return f"{_LINK}/{self.resource(instance)}"
