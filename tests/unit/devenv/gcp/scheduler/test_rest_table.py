"""Our REST bindings of tasks and schedules say what the published clients do."""

from typing import Any

import pytest
from google.cloud.scheduler_v1.services.cloud_scheduler.transports.rest_base import (
    _BaseCloudSchedulerRestTransport,
)
from google.cloud.tasks_v2.services.cloud_tasks.transports.rest_base import (
    _BaseCloudTasksRestTransport,
)

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.rpc import HttpRule
from devenv.gcp.scheduler.service import SchedulerService
from devenv.gcp.store import Store
from devenv.gcp.tasks.service import TasksService
from tests.unit.devenv.gcp.fakes import FakeGuard, FakeMinter, FakeTarget


@pytest.mark.parametrize(
    ("kind", "transport"),
    [
        (TasksService, _BaseCloudTasksRestTransport),
        (SchedulerService, _BaseCloudSchedulerRestTransport),
    ],
    ids=["tasks", "scheduler"],
)
def test_rest_rules_equal_published_client(
    kind: type[TasksService | SchedulerService], transport: Any
) -> None:
    store = Store(":memory:")
    service = kind(
        config=CloudConfig(),
        store=store,
        clock=ManualClock(),
        guard=FakeGuard(),
        minter=FakeMinter(),
        send=FakeTarget().send,
    )
    for rpc in service.rpcs():
        base = getattr(transport, f"_Base{rpc.method.rpartition('/')[2]}")
        (rule,) = base._get_http_options()
        published = HttpRule(rule["method"].upper(), rule["uri"], rule.get("body", ""))
        assert rpc.bindings == (published,)
    store.close()
