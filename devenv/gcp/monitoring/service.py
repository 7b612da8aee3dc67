"""google.monitoring.v3 as the server wires it: time series, and the same methods of three settings."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
    wrong_project,
)
from devenv.gcp.messages import masked, page, set_moment
from devenv.gcp.monitoring.checks import (
    Channel,
    Policy,
    UptimeCheck,
    complete_channel,
    complete_policy,
    complete_uptime_check,
)
from devenv.gcp.monitoring.series import SeriesMethods
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store, Table

monitoring = client_types("google.cloud.monitoring_v3")

_LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of settings: its service, the names of its methods, and what a valid one is.

    `field` is that of a request with the settings, `parent` that with the name of the project.
    """

    service: str
    singular: str
    plural: str
    collection: str
    field: str
    listed: str
    parent: str
    message: Any
    complete: Callable[[Any], None]


_KINDS = (
    _Kind(
        *("AlertPolicyService", "AlertPolicy", "AlertPolicies", "alertPolicies"),
        *("alert_policy", "alert_policies", "name"),
        *(Policy, complete_policy),
    ),
    _Kind(
        *("NotificationChannelService", "NotificationChannel", "NotificationChannels"),
        *("notificationChannels", "notification_channel", "notification_channels", "name"),
        *(Channel, complete_channel),
    ),
    _Kind(
        *("UptimeCheckService", "UptimeCheckConfig", "UptimeCheckConfigs", "uptimeCheckConfigs"),
        *("uptime_check_config", "uptime_check_configs", "parent"),
        *(UptimeCheck, complete_uptime_check),
    ),
)


class MonitoringService(CloudService):
    """The settings of one project, whose names are numbers that the service chooses, and its series."""

    def __init__(self, *, config: CloudConfig, store: Store, clock: Clock, guard: Guard) -> None:
        self._series = SeriesMethods(config, store, clock, guard)
        self.keep_otlp = self._series.keep_otlp
        self._methods = [_Methods(kind, config, store, clock, guard) for kind in _KINDS]
        policies, channels, _ = self._methods
        channels.used_by = policies

    def rpcs(self) -> Iterator[Rpc]:
        for each in self._methods:
            yield from each.rpcs()
        yield from self._series.rpcs()


class _Methods:
    """Create, get, list, update and delete of one kind."""

    used_by: "_Methods | None" = None

    def __init__(
        self, kind: _Kind, config: CloudConfig, store: Store, clock: Clock, guard: Guard
    ) -> None:
        self._kind = kind
        self._config = config
        self._table: Table = store.table(f"monitoring_{kind.listed}")
        self._clock = clock
        self._guard = guard

    def rpcs(self) -> Iterator[Rpc]:
        kind = self._kind
        one = f"/v3/{{name=projects/*/{kind.collection}/*}}"
        nested = f"/v3/{{{kind.field}.name=projects/*/{kind.collection}/*}}"
        parent = f"/v3/{{{kind.parent}=projects/*}}/{kind.collection}"
        listed = getattr(monitoring, f"List{kind.plural}Response").pb()
        for method, response, handle, rule in (
            (
                f"Create{kind.singular}",
                kind.message,
                self.create,
                HttpRule("POST", parent, kind.field),
            ),
            (f"Get{kind.singular}", kind.message, self.get, HttpRule("GET", one)),
            (f"List{kind.plural}", listed, self.list, HttpRule("GET", parent)),
            (
                f"Update{kind.singular}",
                kind.message,
                self.update,
                HttpRule("PATCH", nested, kind.field),
            ),
            (f"Delete{kind.singular}", empty_pb2.Empty, self.delete, HttpRule("DELETE", one)),
        ):
            request = getattr(monitoring, f"{method}Request").pb()
            name = f"google.monitoring.v3.{kind.service}/{method}"
            yield Rpc(name, request, response, handle, (rule,))

    def all(self) -> dict[str, Any]:
        """Return all records by name."""
        return {name: self._kind.message.FromString(value) for name, value in self._table.scan()}

    async def create(self, request: Any, call: ApiCall) -> Any:
        self._allow(getattr(request, self._kind.parent), call, "create")
        made = self._kind.message()
        made.CopyFrom(getattr(request, self._kind.field))
        made.ClearField("name")
        self._kind.complete(made)
        project = f"projects/{self._config.project}"
        made.name = f"{project}/{self._kind.collection}/{_new_id()}"
        for condition in getattr(made, "conditions", ()):
            condition.ClearField("name")
        _name_conditions(made)
        if hasattr(made, "creation_record"):
            set_moment(made.creation_record.mutate_time, self._clock.now())
        return self._put(made)

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._existing(request.name, call, "get")

    async def list(self, request: Any, call: ApiCall) -> Any:
        self._allow(getattr(request, self._kind.parent), call, "list")
        if request.filter or getattr(request, "order_by", ""):
            raise Unimplemented("filter and order_by of lists are not emulated.")
        found = self.all()
        names, token = page(
            found, size=request.page_size, token=request.page_token, most=_LARGEST_PAGE
        )
        answer = getattr(monitoring, f"List{self._kind.plural}Response").pb()(
            next_page_token=token, total_size=len(found)
        )
        getattr(answer, self._kind.listed).extend(found[name] for name in names)
        return answer

    async def update(self, request: Any, call: ApiCall) -> Any:
        given = getattr(request, self._kind.field)
        before = self._existing(given.name, call, "update")
        after = self._kind.message()
        after.CopyFrom(masked(before, given, request.update_mask))
        after.name = before.name
        self._kind.complete(after)
        _name_conditions(after)
        return self._put(after)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        found = self._existing(request.name, call, "delete")
        policies = self.used_by.all().values() if self.used_by else ()
        using = [each for each in policies if found.name in each.notification_channels]
        if using and not request.force:
            raise FailedPrecondition(
                f"{found.name} is used by {using[0].name}: delete the policy first, or use force."
            )
        self._table.delete(found.name)
        return empty_pb2.Empty()

    def _put(self, record: Any) -> Any:
        self._table.put(record.name, record.SerializeToString())
        return record

    def _existing(self, name: str, call: ApiCall, verb: str) -> Any:
        pattern = rf"(projects/[^/]+)/{self._kind.collection}/([0-9]+)"
        match = re.fullmatch(pattern, name)
        if match is None:
            raise InvalidArgument(
                f"{name[:200]!r} must be formatted: projects/PROJECT/{self._kind.collection}/ID."
            )
        self._allow(match[1], call, verb)
        full = f"projects/{self._config.project}/{self._kind.collection}/{match[2]}"
        value = self._table.get(full)
        if value is None:
            raise NotFound(f"Cannot find {self._kind.singular} {full}.")
        return self._kind.message.FromString(value)

    def _allow(self, parent: str, call: ApiCall, verb: str) -> None:
        project = parent.removeprefix("projects/")
        if project not in (self._config.project, self._config.number):
            raise wrong_project(project[:100], "monitoring.googleapis.com")
        permission = f"monitoring.{self._kind.collection}.{verb}"
        self._guard.require(call.caller, permission, f"projects/{self._config.project}")


def _name_conditions(record: Any) -> None:
    """Give a name to each condition of a policy that has none."""
    conditions = getattr(record, "conditions", ())
    used = {condition.name for condition in conditions}
    names = (f"{record.name}/conditions/{number}" for number in count())
    for condition in conditions:
        if not condition.name:
            condition.name = next(name for name in names if name not in used)


def _new_id() -> str:
    return str(random.randrange(10**17, 10**19))  # noqa: S311 - a name
