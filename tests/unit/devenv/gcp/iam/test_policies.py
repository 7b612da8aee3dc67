"""IAM policies: reading, changing and writing them, and what devenv.toml declares."""

from dataclasses import replace
from typing import Any

import pytest

from devenv.gcp.caller import ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig, IamBinding
from devenv.gcp.errors import Aborted, InvalidArgument, Unimplemented
from devenv.gcp.iam.guard import Iam
from devenv.gcp.iam.policies import Policies, Policy
from tests.unit.devenv.gcp.fakes import MemoryStore

QUEUE = "projects/p/locations/us-west1/queues/q"
WEB = "serviceAccount:web@p.iam.gserviceaccount.com"
ENQUEUER = "roles/cloudtasks.enqueuer"
CONFIG = CloudConfig(project="p", bindings=(IamBinding("web", ENQUEUER, "queue/q"),))


class Bench:
    """Policies over a store that outlives them, and the guard that decides by them."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock()
        self.start(CONFIG)

    def start(self, config: CloudConfig) -> None:
        self.policies = Policies(
            config, self.store, is_account=lambda email: not email.startswith("ghost@")
        )
        self.guard = Iam(config, self.policies, self.clock)

    def allows(self, account: str, resource: str = QUEUE) -> bool:
        caller = ApiCaller(f"{account}@p.iam.gserviceaccount.com")
        return self.guard.allows(caller, "cloudtasks.tasks.create", resource)

    def write(self, *bindings: dict[str, Any], **policy: Any) -> Any:
        return self.policies.write(QUEUE, Policy(bindings=bindings, **policy))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def binding(*members: str, role: str = ENQUEUER, **condition: str) -> dict[str, Any]:
    found: dict[str, Any] = {"role": role, "members": members}
    return {**found, "condition": condition} if condition else found


def test_declared_binding_is_part_of_the_policy(bench: Bench) -> None:
    policy = bench.policies.read(QUEUE)

    assert [(each.role, list(each.members)) for each in policy.bindings] == [(ENQUEUER, [WEB])]
    assert bench.allows("web")


def test_written_policy_replaces_the_old_one(bench: Bench) -> None:
    bench.write(binding("serviceAccount:worker@p.iam.gserviceaccount.com"))

    assert bench.allows("worker")
    assert not bench.allows("web")


def test_declared_binding_holds_again_after_a_restart(bench: Bench) -> None:
    bench.write(binding("serviceAccount:worker@p.iam.gserviceaccount.com"))
    bench.start(CONFIG)

    assert bench.allows("worker")
    assert bench.allows("web")


def test_binding_that_the_file_drops_is_removed(bench: Bench) -> None:
    bench.start(replace(CONFIG, bindings=()))

    assert not bench.allows("web")
    assert not bench.policies.read(QUEUE).bindings


def test_policy_with_an_old_etag_is_not_written(bench: Bench) -> None:
    etag = bench.policies.read(QUEUE).etag
    bench.write(etag=etag)

    with pytest.raises(Aborted, match="concurrent policy changes"):
        bench.write(binding("allUsers"), etag=etag)
    assert not bench.allows("worker")


def test_members_of_equal_bindings_are_merged(bench: Bench) -> None:
    written = bench.write(binding(WEB), binding(WEB, "allUsers"), binding(role="roles/viewer"))

    assert [(each.role, list(each.members)) for each in written.bindings] == [
        (ENQUEUER, [WEB, "allUsers"])
    ]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (binding(WEB, role="roles/unheard.of"), "Role roles/unheard.of is not supported"),
        (binding("web"), "The member web is of an unknown type"),
        (binding("serviceAccount:ghost@p.iam.gserviceaccount.com"), "ghost@.* does not exist"),
        (binding(WEB, expression="true"), "must have version 3"),
        (binding(*(f"user:u{n}@example.org" for n in range(1501))), "at most 1500 members"),
    ],
)
def test_invalid_policy_is_refused_with_its_reason(
    bench: Bench, bad: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidArgument, match=text):
        bench.write(bad)
    assert bench.allows("web")


def test_condition_that_does_not_compile_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidArgument, match="not an expression"):
        bench.write(binding(WEB, expression="resource.owner == 1"), version=3)


def test_audit_configuration_is_refused_by_name(bench: Bench) -> None:
    with pytest.raises(Unimplemented, match=r"policy\.audit_configs"):
        bench.write(audit_configs=[{"service": "allServices"}])


@pytest.mark.anyio
async def test_condition_decides_by_time(bench: Bench) -> None:
    deadline = "request.time < timestamp('2027-01-15T09:00:00Z')"  # an hour from now
    bench.write(binding(WEB, expression=deadline), version=3)
    assert bench.allows("web")

    await bench.clock.turn(3600.0)
    assert not bench.allows("web")


def test_caller_without_conditions_reads_suffixed_roles(bench: Bench) -> None:
    bench.write(binding(WEB, expression="true"), version=3)

    assert bench.policies.read(QUEUE, version=3).bindings[0].condition.expression == "true"
    old = bench.policies.read(QUEUE, version=1)
    assert old.version == 1
    assert old.bindings[0].role.startswith(f"{ENQUEUER}_withcond_")
    assert not old.bindings[0].HasField("condition")


def test_policy_goes_with_its_resource_and_those_below(bench: Bench) -> None:
    other = f"{QUEUE}-other"
    bench.policies.write(other, Policy(bindings=[binding(WEB)]))

    bench.guard.forget(QUEUE.replace("/p/", "/123456789012/"))

    assert not bench.allows("web")
    assert bench.allows("web", other)


def test_number_of_the_project_stands_for_its_id(bench: Bench) -> None:
    assert bench.allows("web", QUEUE.replace("/p/", "/123456789012/"))


def test_condition_on_a_secret_sees_the_number_of_the_project(bench: Bench) -> None:
    secret = "projects/p/secrets/key"
    numbered = "resource.name == 'projects/123456789012/secrets/key'"
    role = "roles/secretmanager.viewer"
    policy = Policy(bindings=[binding(WEB, role=role, expression=numbered)], version=3)
    bench.policies.write(secret, policy)
    caller = ApiCaller("web@p.iam.gserviceaccount.com")

    assert bench.guard.allows(caller, "secretmanager.secrets.get", secret)
    assert not bench.guard.allows(caller, "secretmanager.versions.get", f"{secret}/versions/1")
