"""Routes of services: the shares of the revisions that a host leads to."""

import random
from collections import Counter
from typing import Any

from google.cloud import run_v2

from devenv.gcp.config import CloudConfig
from devenv.gcp.run_services.records import BY_NAME, LATEST, READY, ServicesState, condition
from devenv.gcp.run_services.routing import Backend, Routes
from tests.unit.devenv.gcp.fakes import MemoryStore
from tests.unit.devenv.gcp.run_jobs.bench import PlayedRuntime
from tests.unit.devenv.gcp.run_services.bench import instances

NAME = "projects/p/locations/r/services/s"


def test_targets_of_one_revision_add_up() -> None:
    state = ServicesState(MemoryStore())
    settings: dict[str, Any] = {"containers": [{}], "max_instance_request_concurrency": 1}
    made = [run_v2.Revision.pb()(name=f"{NAME}/revisions/{each}", **settings) for each in "ab"]
    for revision in made:
        revision.conditions.append(condition("Ready", READY, now=0.0))
        state.revisions.put(revision)
    service = run_v2.Service.pb()(
        name=NAME,
        uri="https://s.run.app",
        latest_ready_revision=made[0].name,
        traffic=[
            {"type_": LATEST, "percent": 30},
            {"type_": BY_NAME, "revision": "b", "percent": 50},
            {"type_": BY_NAME, "revision": "a", "percent": 20},
            {"type_": BY_NAME, "revision": "a", "tag": "t"},
        ],
    )
    routes = Routes(CloudConfig(), state, instances(PlayedRuntime()), declared_timeout=1.0)
    routes.update(service)
    random.seed(1)
    pick = routes.hosts["s.run.app"].pick
    picked: Counter[Backend | None] = Counter(pick() for _ in range(1000))

    assert sorted(round(count, -2) for count in picked.values()) == [500, 500]


def test_deleted_revisions_without_instances_are_forgotten_in_the_end() -> None:
    context = instances(PlayedRuntime())
    routes = Routes(CloudConfig(), ServicesState(MemoryStore()), context, declared_timeout=1.0)
    busy = run_v2.Revision.pb()(name=f"{NAME}/revisions/busy", containers=[{}])
    for number in range(100):
        made = run_v2.Revision.pb()(name=f"{NAME}/revisions/{number}", containers=[{}])
        routes.instances(made)
        routes.retire(made.name)
        if not number:
            routes.instances(busy).starting = 1
            routes.retire(busy.name)
    found = list(routes.all_instances())
    assert len(found) == 21
    assert sum(not each.is_over for each in found) == 1
