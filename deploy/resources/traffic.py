"""The traffic of a service: which revision it goes to, and what that revision had to show first."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from google.cloud import run_v2

from deploy.errors import DeployError
from deploy.google import GoogleCloud, finish
from deploy.resource import Resource, Settings, command
from deploy.resources.service import NEXT, PREVIOUS, Service, serving_revision

_LATEST = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
_REVISION = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION


@dataclass(frozen=True, kw_only=True)
class Traffic(Resource):
    """All traffic of a service, at the revision with the desired settings.

    `check` gets the URL of that revision's tag before the traffic moves, and raises DeployError if
    the revision must not have it. The revision that served until then keeps the tag `previous`.
    """

    kind: ClassVar[str] = "traffic"

    cloud: GoogleCloud
    service: Service
    check: Callable[[str], None]

    @property
    def name(self) -> str:  # type: ignore[override]  # computed here, a field elsewhere
        """The name of the service."""
        return self.service.name

    def desired(self) -> Settings:
        return {"revision": f"{self.service.revision_prefix()}*"}

    def read(self) -> Settings | None:
        found = self.service.found()
        if found is None:
            return None
        revision = serving_revision(found)
        prefix = self.service.revision_prefix()
        return {"revision": f"{prefix}*" if revision.startswith(prefix) else revision}

    def create(self) -> None:
        """Do nothing: a new service serves with its first revision."""

    def update(self, current: Settings) -> None:
        found = self.cloud.services.get_service(name=self.service.full)
        new = found.latest_ready_revision.rpartition("/")[2]
        if not new.startswith(self.service.revision_prefix()):
            raise DeployError(
                f"{self.address}: the newest revision {new} does not have the settings of the stage "
                "file. Run `apply` again, which makes one."
            )
        self.check(self.cloud.service_url(self.name, tag=NEXT))
        self._move(found, to=new, previous=serving_revision(found))

    def delete(self) -> None:
        """Leave the traffic, which goes with its service."""

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("run", "services", "update-traffic", self.name)
        if action != "update":
            return []
        return [command(*words, region=self.cloud.region, to_tags=f"{NEXT}=100")]

    def roll_back(self) -> str:
        """Move the traffic back to the revision that had it before; return its name.

        Raises DeployError if there is none.
        """
        found = self.service.found()
        traffic = found.traffic if found else []
        previous = next((each.revision for each in traffic if each.tag == PREVIOUS), "")
        if found is None or not previous:
            raise DeployError(
                f"{self.address} has no revision with the tag `{PREVIOUS}`: nothing was rolled out "
                "since the first deployment. See `python -m deploy status`."
            )
        self._move(found, to=previous, previous=serving_revision(found))
        return str(previous)

    def _move(self, found: run_v2.Service, *, to: str, previous: str) -> None:
        """Give a revision all the traffic, by one call that changes nothing else."""
        targets = [
            run_v2.TrafficTarget(type_=_REVISION, revision=to, percent=100),
            run_v2.TrafficTarget(type_=_LATEST, tag=NEXT),
        ]
        if previous not in ("", to):
            targets.append(run_v2.TrafficTarget(type_=_REVISION, revision=previous, tag=PREVIOUS))
        service = run_v2.Service(name=found.name, template=found.template, traffic=targets)
        request = {"service": service, "update_mask": {"paths": ["traffic"]}}
        finish(self.cloud.services.update_service(request=request))
