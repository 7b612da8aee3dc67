"""The APIs of Google that a stage calls, switched on in its project."""

from dataclasses import dataclass
from typing import Any, ClassVar

from google.cloud import service_usage_v1

from deploy.google import GoogleCloud, finish
from deploy.resource import Resource, Settings, command

_MOST_AT_ONCE = 20  # https://cloud.google.com/service-usage/docs/reference/rest


@dataclass(frozen=True, kw_only=True)
class Apis(Resource):
    """All APIs together; `services` are short names such as `run`.

    They are never disabled, because others in the project may use them.
    """

    kind: ClassVar[str] = "apis"
    is_shared: ClassVar[bool] = True

    cloud: GoogleCloud
    name: str
    services: tuple[str, ...]

    def desired(self) -> Settings:
        return {"enabled": sorted(self.services)}

    def read(self) -> Settings:
        names = [f"{self._project}/services/{_host(each)}" for each in self.services]
        request = {"parent": self._project, "names": names}
        found = self.cloud.apis.batch_get_services(request=request).services
        on = service_usage_v1.State.ENABLED
        hosts = {each.name.rpartition("/")[2] for each in found if each.state == on}
        return {"enabled": sorted(each for each in self.services if _host(each) in hosts)}

    def create(self) -> None:
        self.update(self.read())

    def update(self, current: Settings) -> None:
        missing = [_host(each) for each in self.services if each not in current["enabled"]]
        for start in range(0, len(missing), _MOST_AT_ONCE):
            some = missing[start : start + _MOST_AT_ONCE]
            request: dict[str, Any] = {"parent": self._project, "service_ids": some}
            finish(self.cloud.apis.batch_enable_services(request=request))

    def delete(self) -> None:
        raise NotImplementedError

    def gcloud(self, action: str, current: Settings) -> list[str]:
        missing = sorted(set(self.services) - set(current["enabled"]))
        return [command("services", "enable", *map(_host, missing), project=self.cloud.project)]

    @property
    def _project(self) -> str:
        return f"projects/{self.cloud.project}"


def _host(service: str) -> str:
    return f"{service}.googleapis.com"
