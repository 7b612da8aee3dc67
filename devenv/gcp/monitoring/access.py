"""Rights on the time series of a project."""

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import wrong_project


class SeriesAccess:
    """Asks for permissions on one project."""

    def __init__(self, config: CloudConfig, guard: Guard) -> None:
        self.project = config.project
        self._names = (config.project, config.number)
        self._guard = guard

    def allow(self, name: str, call: ApiCall, permission: str) -> None:
        """Raise PermissionDenied unless the caller has a permission on the project of this name."""
        project = name.removeprefix("projects/")
        if project not in self._names:
            raise wrong_project(project[:100], "monitoring.googleapis.com")
        self._guard.require(call.caller, f"monitoring.{permission}", f"projects/{self.project}")
