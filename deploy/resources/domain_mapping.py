"""Domain mappings of Cloud Run: the host name that users know, for a service."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from google.api_core.exceptions import NotFound

from deploy.errors import DeployError
from deploy.google import GoogleCloud, pauses
from deploy.resource import Resource, Settings, command

# https://cloud.google.com/run/docs/mapping-custom-domains#limitations
REGIONS = frozenset(
    {
        *("asia-east1", "asia-northeast1", "asia-southeast1", "europe-north1", "europe-west1"),
        *("europe-west4", "us-central1", "us-east1", "us-east4", "us-west1"),
    }
)
_UNVERIFIED = "PermissionDenied"
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class DomainMapping(Resource):
    """A domain that leads to a service; one that leads there already is left as it is.

    One that leads to another service is neither changed nor deleted: it serves something else.
    Google refuses a domain of which the deployer is no verified owner, in the conditions of a mapping that
    exists then: `apply` makes it anew once the domain is verified.
    """

    kind: ClassVar[str] = "domain"

    cloud: GoogleCloud
    name: str
    service: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the mappings that were made for a stage."""
        if cloud.region not in REGIONS:
            return
        for found in cloud.rest.call("GET", _collection(cloud)).get("items", []):
            if found["metadata"].get("labels", {}).get("stage") == stage:
                yield cls(cloud=cloud, name=found["metadata"]["name"])

    def desired(self) -> Settings:
        return {"service": self.service, "refused": ""}

    def read(self) -> Settings | None:
        try:
            found = self.cloud.rest.call("GET", self._url)
        except NotFound:
            return None
        return {"service": found["spec"]["routeName"], "refused": _refusal(found)[0]}

    def create(self) -> None:
        body = {
            "apiVersion": "domains.cloudrun.com/v1",
            "kind": "DomainMapping",
            "metadata": {
                "name": self.name,
                "namespace": self.cloud.project,
                "labels": dict(self.labels),
            },
            "spec": {"routeName": self.service, "certificateMode": "AUTOMATIC"},
        }
        self._check(self.cloud.rest.call("POST", _collection(self.cloud), body))

    def update(self, current: Settings) -> None:
        if current["service"] != self.service:
            raise DeployError(
                f"{self.address} leads to the service {current['service']}. Delete the mapping with `"
                f"{self.gcloud('delete', {})[0]}` and run `apply` again, or set `map_domain = false`."
            )
        self.cloud.rest.call("DELETE", self._url)
        self.create()

    def delete(self) -> None:
        current = self.read()
        if current and self.service in ("", current["service"]):
            self.cloud.rest.call("DELETE", self._url)

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words, region = ("beta", "run", "domain-mappings"), self.cloud.region
        create = command(*(*words, "create"), service=self.service, domain=self.name, region=region)
        delete = command(*(*words, "delete"), domain=self.name, region=region)
        return {"create": [create], "update": [delete, create], "delete": [delete]}[action]

    def _check(self, found: Any) -> None:
        """Wait until Google has looked at a new mapping. Raises DeployError if it refuses it.

        The certificate comes later, when the records of the domain lead to Google.
        """
        waiting = pauses(_LONGEST_SECONDS)
        while not found.get("status", {}).get("resourceRecords"):
            reason, message = _refusal(found)
            if reason == _UNVERIFIED:
                raise DeployError(
                    f"{self.address}: the deployer is no verified owner of {self.name}. Add its address as an "
                    "owner in Search Console (docs/production.md, Domain), or set `map_domain = false` and lead "
                    "the domain to the service by a load balancer; then run `apply` again."
                )
            if reason:
                raise DeployError(f"{self.address}: {message} Mend it, then run `apply` again.")
            if not next(waiting, False):
                return
            found = self.cloud.rest.call("GET", self._url)

    @property
    def _url(self) -> str:
        return f"{_collection(self.cloud)}/{self.name}"


def _collection(cloud: GoogleCloud) -> str:
    host = f"https://{cloud.region}-run.googleapis.com/apis/domains.cloudrun.com/v1"
    return f"{host}/namespaces/{cloud.project}/domainmappings"


def _refusal(found: Any) -> tuple[str, str]:
    """Return why Google refuses a mapping: reason and message, empty ones if it does not.

    A mapping whose certificate waits for the records of the domain is not refused.
    """
    for each in found.get("status", {}).get("conditions", []):
        if each["type"] == "Ready" and each["status"] == "False":
            has_records = found["status"].get("resourceRecords")
            return ("", "") if has_records else (each.get("reason", ""), each.get("message", ""))
    return "", ""
