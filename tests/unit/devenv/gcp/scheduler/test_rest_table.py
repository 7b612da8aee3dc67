"""Our REST bindings of tasks, schedules and Pub/Sub say what the published clients do."""

from functools import partial
from typing import Any

import pytest
from google.cloud.scheduler_v1.services.cloud_scheduler.transports.rest_base import (
    _BaseCloudSchedulerRestTransport,
)
from google.cloud.tasks_v2.services.cloud_tasks.transports.rest_base import (
    _BaseCloudTasksRestTransport,
)
from google.pubsub_v1.services.publisher.transports.rest_base import _BasePublisherRestTransport
from google.pubsub_v1.services.schema_service.transports.rest_base import (
    _BaseSchemaServiceRestTransport,
)
from google.pubsub_v1.services.subscriber.transports.rest_base import _BaseSubscriberRestTransport

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.pubsub.service import PubSubService
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.scheduler.service import SchedulerService
from devenv.gcp.store import Store
from devenv.gcp.tasks.service import TasksService
from tests.unit.devenv.gcp.fakes import FakeGuard, FakeMinter, FakeTarget, FakeTopics


@pytest.mark.parametrize(
    ("make", "transports"),
    [
        (TasksService, [_BaseCloudTasksRestTransport]),
        (partial(SchedulerService, topics=FakeTopics()), [_BaseCloudSchedulerRestTransport]),
        (
            PubSubService,
            [
                _BasePublisherRestTransport,
                _BaseSubscriberRestTransport,
                _BaseSchemaServiceRestTransport,
            ],
        ),
    ],
    ids=["tasks", "scheduler", "pubsub"],
)
def test_rest_rules_equal_published_client(make: Any, transports: list[Any]) -> None:
    store = Store(":memory:")
    service = make(
        config=CloudConfig(),
        store=store,
        clock=ManualClock(),
        guard=FakeGuard(),
        minter=FakeMinter(),
        send=FakeTarget().send,
    )
    for rpc in service.rpcs():
        if not isinstance(rpc, Rpc):
            continue  # a stream, which REST does not have
        name = f"_Base{rpc.method.rpartition('/')[2]}"
        base = next(getattr(each, name) for each in transports if hasattr(each, name))
        (rule,) = base._get_http_options()
        published = HttpRule(rule["method"].upper(), rule["uri"], rule.get("body", ""))
        assert rpc.bindings == (published,)
    store.close()
