"""Settings of Cloud Run services: validation, Google's defaults, revisions and traffic.

After https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services. Every accepted
field has an effect, except for those that ask for processor time, which a laptop has. A change of
the template makes a new revision; a change of the traffic does not.
"""

import random
import re
import string
import uuid
from collections.abc import Collection

from devenv.gcp.config import CloudConfig, ServiceConfig
from devenv.gcp.errors import AlreadyExists, Unimplemented
from devenv.gcp.messages import every, masked, refuse_unemulated, seconds, set_moment
from devenv.gcp.run_jobs.containers import (
    CONTAINER,
    VOLUME,
    VPC,
    CheckEgress,
    bad,
    check_volumes,
    complete_container,
)
from devenv.gcp.run_jobs.resources import GA, GEN2, Pb, touch
from devenv.gcp.run_services.records import (
    BY_NAME,
    DECLARED_IMAGE,
    INGRESS_ALL,
    LATEST,
    PENDING,
    REVISION_PARTS,
    Revision,
    RevisionTemplate,
    Service,
    short,
    tell,
)

RESERVED = frozenset({"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"})
DEFAULT_PORT = 8080
DEFAULT_CONCURRENCY, MOST_CONCURRENCY = 80, 1000
DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 300, 3600
DEFAULT_MOST_INSTANCES = 100
START_TIMEOUT = 240  # https://cloud.google.com/run/docs/configuring/healthchecks

_PROBE = every(
    *("initial_delay_seconds", "timeout_seconds", "period_seconds", "failure_threshold"),
    http_get=every("path", "port", http_headers=every("name", "value")),
    tcp_socket=every("port"),
)
_CONTAINER = {
    **CONTAINER,
    "resources": every("limits", "cpu_idle", "startup_cpu_boost"),
    "ports": every("name", "container_port"),
    "startup_probe": _PROBE,
}
_SCALING = every("min_instance_count", "max_instance_count")
_TEMPLATE = every(
    *("revision", "labels", "annotations", "timeout", "service_account", "execution_environment"),
    "max_instance_request_concurrency",
    scaling=_SCALING,
    containers=_CONTAINER,
    volumes=VOLUME,
    vpc_access=VPC,
)
_FIELDS = every(
    *("description", "labels", "annotations", "client", "client_version", "ingress"),
    *("launch_stage", "invoker_iam_disabled", "default_uri_disabled", "custom_audiences"),
    template=_TEMPLATE,
    traffic=every("type_", "type", "revision", "percent", "tag"),
    scaling=_SCALING,
)
# Settable and refused, in part: nothing here would have an effect.
_SETTABLE = (
    *_FIELDS,
    *("binary_authorization", "build_config", "iap_enabled", "multi_region_settings"),
)
_ID = re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?")
_REVISION = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_TAG = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_LONGEST_LABEL = 63  # of a host name


def check_service_id(service_id: str) -> None:
    """Refuse an id that is no DNS label of fewer than 50 characters. Raises InvalidArgument."""
    if not _ID.fullmatch(service_id):
        raise bad(
            "service_id",
            "only lowercase, digits, and hyphens; must begin with letter, and may not end with "
            "hyphen; must be less than 50 characters",
        )


class ServiceMaker:
    """Turns what a caller sends into services and revisions as Cloud Run would keep them."""

    def __init__(self, config: CloudConfig, check_egress: CheckEgress) -> None:
        self._config = config
        self._check_egress = check_egress

    def create(self, given: Pb, *, name: str, creator: str, now: float) -> Pb:
        """Return a new service without a revision. Raises InvalidArgument."""
        service = self._settings_of(given)
        service.name, service.uid, service.creator = name, str(uuid.uuid4()), creator
        set_moment(service.create_time, now)
        url = self._config.service_url(short(name))
        service.uri = url
        service.urls[:] = [url]
        return self._ready(service, modifier=creator, now=now)

    def change(self, service: Pb, given: Pb, mask: Pb, *, modifier: str, now: float) -> Pb:
        """Return `service` with the settings of `given` that the mask names, all without a mask."""
        wanted = masked(service, given, mask)
        changed = Service()
        changed.CopyFrom(service)
        for field in _SETTABLE:
            if field in changed.DESCRIPTOR.fields_by_name:
                changed.ClearField(field)
        changed.MergeFrom(self._settings_of(wanted))
        return self._ready(changed, modifier=modifier, now=now)

    def revision(self, service: Pb, before: Pb | None, known: Collection[str], now: float) -> Pb:
        """Return the revision that a service's template asks for, None if there is no new one.

        `before` is the service as it was; `known` are the short names of its revisions.
        Raises AlreadyExists for a name that a different revision has.
        """
        template, number = service.template, service.generation
        if before is not None and template == before.template:
            return None
        name = str(template.revision)
        if not name:
            letters = "".join(random.choices(string.ascii_lowercase, k=3))  # noqa: S311 - a name
            name = f"{short(service.name)}-{number:05d}-{letters}"
        elif not _REVISION.fullmatch(name) or not name.startswith(f"{short(service.name)}-"):
            raise bad(
                "service.template.revision",
                f"{name[:100]!r} must begin with '{short(service.name)}-' and be a DNS label",
            )
        if name in known:
            raise AlreadyExists(
                f"Revision named '{name}' with different configuration already exists."
            )
        return _revision(service, name, now)

    def check_traffic(self, service: Pb, known: Collection[str]) -> None:
        """Refuse traffic to revisions that are not among `known`. Raises InvalidArgument."""
        for index, target in enumerate(service.traffic):
            if target.revision and target.revision not in known:
                raise bad(
                    f"service.traffic[{index}].revision",
                    f"there is no revision {target.revision[:100]!r}",
                )
            label = f"{target.tag}---{short(service.name)}-{self._config.number}"
            if target.tag and len(label) > _LONGEST_LABEL:
                raise bad(f"service.traffic[{index}].tag", "tag and service name are too long")

    def declared(self, config: ServiceConfig) -> Pb:
        """Return what a caller would send to create a service of devenv.toml."""
        service = Service()
        service.template.service_account = self._config.email(config.account)
        service.template.containers.add(image=f"{DECLARED_IMAGE}{config.name}")
        return service

    def _settings_of(self, given: Pb) -> Pb:
        """Return a service with only what a caller may set, completed and checked."""
        service = Service()
        service.CopyFrom(given)
        for field, _ in given.ListFields():
            if field.name not in _SETTABLE:
                service.ClearField(field.name)
        if service.scaling.scaling_mode == 1:  # AUTOMATIC, the default
            service.scaling.ClearField("scaling_mode")
        refuse_unemulated(service, _FIELDS, where="service")
        self._complete(service.template)
        _check_scaling("service.scaling", service.scaling)
        _complete_traffic(service.traffic)
        service.launch_stage = service.launch_stage or GA
        service.ingress = service.ingress or INGRESS_ALL
        return service

    def _complete(self, template: Pb) -> None:
        where = "service.template"
        if not template.HasField("timeout"):
            template.timeout.FromSeconds(DEFAULT_TIMEOUT)
        if not 0 < seconds(template.timeout) <= LONGEST_TIMEOUT:
            raise bad(f"{where}.timeout", f"must be more than 0 and at most {LONGEST_TIMEOUT}s")
        concurrency = template.max_instance_request_concurrency or DEFAULT_CONCURRENCY
        if not 0 < concurrency <= MOST_CONCURRENCY:
            raise bad(
                f"{where}.max_instance_request_concurrency",
                f"must be between 1 and {MOST_CONCURRENCY}",
            )
        template.max_instance_request_concurrency = concurrency
        template.scaling.max_instance_count = (
            template.scaling.max_instance_count or DEFAULT_MOST_INSTANCES
        )
        _check_scaling(f"{where}.scaling", template.scaling)
        template.execution_environment = template.execution_environment or GEN2
        template.service_account = template.service_account or self._config.default_account
        if not template.containers:
            raise bad(f"{where}.containers", "must contain one container")
        if len(template.containers) > 1:
            raise Unimplemented(f"{where}.containers: sidecars are not emulated.")
        complete_container(f"{where}.containers[0]", template.containers[0], RESERVED)
        _complete_port(f"{where}.containers[0]", template.containers[0])
        check_volumes(where, template)
        self._check_egress(f"{where}.vpc_access", template.vpc_access)

    def _ready(self, service: Pb, *, modifier: str, now: float) -> Pb:
        service.generation += 1
        service.last_modifier = modifier
        touch(service, now)
        return service


def _revision(service: Pb, name: str, now: float) -> Pb:
    template = RevisionTemplate()
    template.CopyFrom(service.template)
    template.ClearField("revision")
    revision = Revision()
    # The two share the names of all these fields.
    for field, _ in template.ListFields():
        target, value = getattr(revision, field.name), getattr(template, field.name)
        if field.is_repeated or field.message_type:
            target.MergeFrom(value)
        else:
            setattr(revision, field.name, value)
    revision.name = f"{service.name}/revisions/{name}"
    revision.uid, revision.generation = str(uuid.uuid4()), 1
    revision.service, revision.creator = short(service.name), service.last_modifier
    revision.launch_stage = service.launch_stage
    revision.reconciling = True
    set_moment(revision.create_time, now)
    tell(revision.conditions, REVISION_PARTS, PENDING, now=now)
    touch(revision, now)
    return revision


def _check_scaling(where: str, scaling: Pb) -> None:
    least, most = scaling.min_instance_count, scaling.max_instance_count
    if least < 0 or most < 0 or (most and least > most):
        raise bad(where, f"min_instance_count {least} must be from 0 to max_instance_count {most}")


def _complete_port(where: str, container: Pb) -> None:
    """Fill in port and startup probe: without one, the port must accept a connection."""
    if not container.ports:
        container.ports.add(container_port=DEFAULT_PORT)
    if len(container.ports) > 1:
        raise bad(f"{where}.ports", "must have one port")
    port = container.ports[0]
    # Both names get HTTP/1.1 here: a container that is deployed for h2c usually takes either.
    port.name = port.name or "http1"
    if port.name not in ("h2c", "http1") or not 1 <= port.container_port <= 65535:
        raise bad(f"{where}.ports[0]", "must have the name http1 or h2c and a port from 1 to 65535")
    _complete_probe(f"{where}.startup_probe", container, port)


def _complete_probe(where: str, container: Pb, port: Pb) -> None:
    probe = container.startup_probe
    if not container.HasField("startup_probe"):
        probe.timeout_seconds = probe.period_seconds = START_TIMEOUT
        probe.tcp_socket.port = port.container_port
    probe.period_seconds = probe.period_seconds or 10
    probe.timeout_seconds = probe.timeout_seconds or 1
    is_default = probe.period_seconds == START_TIMEOUT
    probe.failure_threshold = probe.failure_threshold or (1 if is_default else 3)
    kind = probe.WhichOneof("probe_type")
    if kind is None:
        raise bad(where, "must have http_get or tcp_socket")
    action = getattr(probe, kind)
    action.port = action.port or port.container_port
    if action.port != port.container_port:
        raise Unimplemented(f"{where}: its port must be that of the container.")
    longest = probe.period_seconds * probe.failure_threshold
    if probe.timeout_seconds > probe.period_seconds or longest > START_TIMEOUT:
        raise bad(
            where,
            f"timeout must not exceed period, nor period x threshold {START_TIMEOUT} seconds",
        )


def _complete_traffic(traffic: Pb) -> None:
    if not traffic:
        traffic.add(type_=LATEST, percent=100)
    tags = [target.tag for target in traffic if target.tag]
    for index, target in enumerate(traffic):
        where = f"service.traffic[{index}]"
        target.type_ = target.type_ or (BY_NAME if target.revision else LATEST)
        target.revision = short(target.revision)
        if (target.type_ == BY_NAME) != bool(target.revision):
            raise bad(where, "a revision must be named for the type REVISION, and only for it")
        if target.tag and (not _TAG.fullmatch(target.tag) or tags.count(target.tag) > 1):
            raise bad(f"{where}.tag", f"{target.tag[:100]!r} must be a DNS label and unique")
        if not 0 <= target.percent <= 100:
            raise bad(f"{where}.percent", "must be between 0 and 100")
    if sum(target.percent for target in traffic) != 100:
        raise bad("service.traffic", "the percentages must add up to 100")
