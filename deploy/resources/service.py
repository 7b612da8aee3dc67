"""Cloud Run services: revisions of the product's image. `traffic` moves the traffic to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.cloud import run_v2
from google.protobuf.duration_pb2 import Duration

from deploy.errors import DeployError
from deploy.google import GoogleCloud, finish
from deploy.resource import Resource, Settings, command, pairs
from deploy.resources.container import RunContainer, digest, other_labels, read_container

NEXT = "next"  # the tag of the newest revision, by which it is reached before it has traffic
PREVIOUS = "previous"  # the tag of the revision that had the traffic before
_LATEST = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
_REVISION = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
_FAILED = run_v2.Condition.State.CONDITION_FAILED
_FROM_ALL = run_v2.IngressTraffic.INGRESS_TRAFFIC_ALL
_PORT = 8080
_PROBED_PATH = "/health/"
_PROBE_SECONDS, _PROBES = 1, 60


@dataclass(frozen=True, kw_only=True)
class Service(Resource):
    """A service with one container.

    The name of a revision tells its settings: the service, their digest and a number. A new revision
    has no traffic but a tag, except for the first, which serves at once. `timeout` is in seconds.
    Processors are paid for while requests are handled
    (https://cloud.google.com/run/docs/configuring/billing-settings).
    """

    kind: ClassVar[str] = "service"

    cloud: GoogleCloud
    name: str
    labels: Mapping[str, str]
    container: RunContainer
    concurrency: int
    timeout: int
    min_instances: int
    max_instances: int
    http2: bool = False

    def desired(self) -> Settings:
        return {
            **self._template_settings(),
            "ingress": "INGRESS_TRAFFIC_ALL",
            "callers checked": True,
            "own address": True,
            "state": "ready",
            "labels": dict(self.labels),
        }

    def read(self) -> Settings | None:
        found = self.found()
        if found is None:
            return None
        template = found.template
        return {
            **read_container(template),
            "concurrency": template.max_instance_request_concurrency,
            "timeout": int(template.timeout.total_seconds()),
            "min_instances": template.scaling.min_instance_count,
            "max_instances": template.scaling.max_instance_count,
            **_read_process(template.containers[0]),
            "ingress": found.ingress.name,
            "callers checked": not found.invoker_iam_disabled,
            "own address": not found.default_uri_disabled,
            "state": _state(found),
            "labels": dict(found.labels),
            **other_labels("revision labels", template, self.labels),
        }

    def create(self) -> None:
        service = run_v2.Service(
            labels=dict(self.labels),
            ingress=_FROM_ALL,
            template=self._template(1),
            traffic=[run_v2.TrafficTarget(type_=_LATEST, percent=100, tag=NEXT)],
        )
        self._wait(
            self.cloud.services.create_service(
                parent=self.cloud.location, service=service, service_id=self.name
            )
        )

    def update(self, current: Settings) -> None:
        """Make a new revision without traffic."""
        found = self.cloud.services.get_service(name=self.full)
        serving = serving_revision(found)
        kept = [t for t in found.traffic if t.tag not in (NEXT, "")]
        if serving:
            kept.insert(0, run_v2.TrafficTarget(type_=_REVISION, revision=serving, percent=100))
            kept[1:] = [run_v2.TrafficTarget(t, percent=0) for t in kept[1:]]
        newest = run_v2.TrafficTarget(type_=_LATEST, percent=0 if serving else 100, tag=NEXT)
        service = run_v2.Service(
            name=self.full,
            labels=dict(self.labels),
            ingress=_FROM_ALL,
            template=self._template(found.generation + 1),
            traffic=[*kept, newest],
        )
        self._wait(self.cloud.services.update_service(service=service))

    def delete(self) -> None:
        finish(self.cloud.services.delete_service(name=self.full))

    def gcloud(self, action: str, current: Settings) -> list[str]:
        if action == "delete":
            return [command("run", "services", "delete", self.name, region=self.cloud.region)]
        return [
            command(
                *("run", "deploy", self.name, "--no-allow-unauthenticated"),
                *(["--no-traffic"] if action == "update" else []),
                region=self.cloud.region,
                tag=NEXT,
                labels=pairs(self.labels),
                concurrency=self.concurrency,
                timeout=self.timeout,
                min_instances=str(self.min_instances),
                max_instances=self.max_instances,
                use_http2=self.http2,
                port=_PORT,
                ingress="all",
                invoker_iam_check=True,
                default_url=True,
                cpu_boost=True,
                cpu_throttling=True,
                startup_probe=f"httpGet.path={_PROBED_PATH},periodSeconds={_PROBE_SECONDS},"
                f"failureThreshold={_PROBES}",
                **self.container.flags(),
            )
        ]

    def found(self) -> run_v2.Service | None:
        """Return the service as the API has it, None if it does not exist."""
        try:
            return self.cloud.services.get_service(name=self.full)
        except NotFound:
            return None

    def revision_prefix(self) -> str:
        """Return what the names of revisions with the desired settings begin with."""
        return f"{self.name}-{digest(self._template_settings())}-"

    @property
    def full(self) -> str:
        """The full name of the service."""
        return f"{self.cloud.location}/services/{self.name}"

    def _template_settings(self) -> dict[str, Any]:
        return {
            **self.container.settings(),
            "concurrency": self.concurrency,
            "timeout": self.timeout,
            "min_instances": self.min_instances,
            "max_instances": self.max_instances,
            "http2": self.http2,
            "port": _PORT,
            "startup": f"GET {_PROBED_PATH} after each of {_PROBE_SECONDS} s, {_PROBES} times",
            "startup boost": True,
            "processor between requests": False,
        }

    def _template(self, number: int) -> run_v2.RevisionTemplate:
        probe = run_v2.Probe(
            http_get=run_v2.HTTPGetAction(path=_PROBED_PATH),
            period_seconds=_PROBE_SECONDS,
            failure_threshold=_PROBES,
        )
        port = run_v2.ContainerPort(name="h2c" if self.http2 else "http1", container_port=_PORT)
        container = self.container.message(
            ports=[port],
            startup_probe=probe,
            resources={"startup_cpu_boost": True, "cpu_idle": True},
        )
        return run_v2.RevisionTemplate(
            revision=f"{self.revision_prefix()}{number}",
            labels=dict(self.labels),
            containers=[container],
            volumes=self.container.volumes(),
            vpc_access=self.container.egress(),
            service_account=self.container.account,
            max_instance_request_concurrency=self.concurrency,
            timeout=Duration(seconds=self.timeout),
            scaling=run_v2.RevisionScaling(
                min_instance_count=self.min_instances, max_instance_count=self.max_instances
            ),
        )

    def _wait(self, operation: Any) -> None:
        """Wait for a new revision. Raises DeployError if it does not become ready."""
        try:
            finish(operation)
        except GoogleAPICallError as error:
            raise DeployError(
                f"{self.address}: {error.message.rstrip('.')}. Traffic stays where it is. Is the "
                f"image pushed, and does it start? Run `gcloud run services logs read {self.name} "
                f"--region={self.cloud.region}`, mend it, then run `apply` again."
            ) from error


def _read_process(container: run_v2.Container) -> dict[str, Any]:
    """Return the settings that only containers of services have."""
    port, probe = next(iter(container.ports), run_v2.ContainerPort()), container.startup_probe
    return {
        "http2": port.name == "h2c",
        "port": port.container_port,
        "startup": f"GET {probe.http_get.path} after each of {probe.period_seconds} s, "
        f"{probe.failure_threshold} times",
        "startup boost": container.resources.startup_cpu_boost,
        "processor between requests": not container.resources.cpu_idle,
    }


def serving_revision(service: run_v2.Service) -> str:
    """Return the short name of the revision that has all the traffic, empty if none has."""
    whole = [each for each in service.traffic if each.percent == 100]
    if not whole:
        return ""
    revision = whole[0].revision or service.latest_ready_revision
    return str(revision).rpartition("/")[2]


def _state(service: run_v2.Service) -> str:
    """Return `ready`, or what is wrong with the newest revision."""
    if service.reconciling:
        return "not ready"
    return "failed" if service.terminal_condition.state == _FAILED else "ready"
