"""Private services access: the connection of a VPC network with Google's services."""

from dataclasses import dataclass
from typing import Any, ClassVar

from google.api_core.exceptions import Conflict, NotFound

from deploy.errors import DeployError
from deploy.google import GoogleCloud, pauses
from deploy.resource import Resource, Settings, command

_COMPUTE = "https://compute.googleapis.com/compute/v1"
_NETWORKING = "https://servicenetworking.googleapis.com/v1"
_SERVICE = "servicenetworking.googleapis.com"
_PREFIX = 16  # bits, as Google recommends
_LONGEST_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Peering(Resource):
    """A range of a network for Google's services, and the connection by which they use it.

    A connection that the network has already is left as it is, whoever made it. Nothing deletes one: all
    stages and projects with that network share it.
    See https://cloud.google.com/sql/docs/postgres/configure-private-services-access.
    """

    kind: ClassVar[str] = "peering"
    is_shared: ClassVar[bool] = True

    cloud: GoogleCloud
    name: str  # that of the network

    def desired(self) -> Settings:
        return {"connected": True}

    def read(self) -> Settings | None:
        if not self._network_exists():
            raise DeployError(
                f"{self.address}: the project has no network {self.name}. Make it with `gcloud compute networks "
                f"create {self.name} --project={self.cloud.project}`, or name another one in `[database]`; "
                "then run `plan`."
            )
        found = self.cloud.rest.call("GET", self._connections, network=self._full_network)
        return self.desired() if found.get("connections") else None

    def create(self) -> None:
        self._make_range()
        body = {"network": self._full_network, "reservedPeeringRanges": [self._range]}
        operation = self.cloud.rest.call("POST", self._connections, body)
        ended = self._wait(operation, f"{_NETWORKING}/{operation['name']}")
        if "error" in ended:
            raise DeployError(
                f"{self.address}: {ended['error']['message']} See `gcloud services vpc-peerings list "
                f"--network={self.name}`, mend it, then run `apply` again."
            )

    def _make_range(self) -> None:
        """Allocate the range, unless an interrupted `apply` has done that."""
        body = {
            "name": self._range,
            "addressType": "INTERNAL",
            "purpose": "VPC_PEERING",
            "prefixLength": _PREFIX,
            "network": f"{self._project}/global/networks/{self.name}",
        }
        try:
            operation = self.cloud.rest.call("POST", f"{_COMPUTE}/{self._addresses}", body)
        except Conflict:
            return
        ended = self._wait(
            operation, f"{_COMPUTE}/{self._project}/global/operations/{operation['name']}"
        )
        if "error" in ended:
            texts = "; ".join(each["message"] for each in ended["error"]["errors"])
            raise DeployError(f"{self.address}: {texts} Mend it, then run `apply` again.")

    def update(self, current: Settings) -> None:
        raise NotImplementedError

    def delete(self) -> None:
        raise NotImplementedError

    def gcloud(self, action: str, current: Settings) -> list[str]:
        return [
            command(
                *("compute", "addresses", "create", self._range, "--global"),
                purpose="VPC_PEERING",
                prefix_length=_PREFIX,
                network=self.name,
            ),
            command(
                *("services", "vpc-peerings", "connect"),
                service=_SERVICE,
                ranges=self._range,
                network=self.name,
            ),
        ]

    def _network_exists(self) -> bool:
        try:
            self.cloud.rest.call("GET", f"{_COMPUTE}/{self._project}/global/networks/{self.name}")
        except NotFound:
            return False
        return True

    def _wait(self, operation: Any, url: str) -> Any:
        """Return an operation when it is done. Raises DeployError after ten minutes."""
        waiting = pauses(_LONGEST_SECONDS)
        while not (operation.get("done") or operation.get("status") == "DONE"):
            if not next(waiting, False):
                raise DeployError(
                    f"{self.address}: the operation {operation['name']} is in progress for ten minutes. Run "
                    "`apply` again."
                )
            operation = self.cloud.rest.call("GET", url)
        return operation

    @property
    def _range(self) -> str:
        return f"google-managed-services-{self.name}"

    @property
    def _project(self) -> str:
        return f"projects/{self.cloud.project}"

    @property
    def _addresses(self) -> str:
        return f"{self._project}/global/addresses"

    @property
    def _connections(self) -> str:
        return f"{_NETWORKING}/services/{_SERVICE}/connections"

    @property
    def _full_network(self) -> str:
        """The network by the project's number, the only form that Service Networking takes."""
        return f"projects/{self.cloud.number}/global/networks/{self.name}"
