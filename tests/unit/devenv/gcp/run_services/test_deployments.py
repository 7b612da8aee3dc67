"""Deployments that fail: the error of the operation, and the condition of the revision."""

import pytest
from google.cloud import run_v2

from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import NotFound, Unavailable
from devenv.gcp.run_jobs.runtimes.base import AttemptNotStarted
from devenv.gcp.run_services.deployments import Deployments
from devenv.gcp.run_services.records import CommonReason, ServicesState
from devenv.gcp.run_services.routing import Routes
from tests.unit.devenv.gcp.fakes import MemoryStore
from tests.unit.devenv.gcp.run_jobs.bench import PlayedRuntime
from tests.unit.devenv.gcp.run_services.bench import instances

pytestmark = pytest.mark.anyio

NAME = "projects/p/locations/r/services/s"
UID = "7e2b9d7c-63a4-4b5c-9d43-3f4c1f0c8a52"


class AwayRuntime(PlayedRuntime):
    """A runtime whose engine does not answer."""

    async def pin(self, image: str) -> str | None:
        raise AttemptNotStarted("The engine does not answer.")


@pytest.mark.parametrize(
    ("runtime", "code", "reason", "text"),
    [
        (AwayRuntime(), Unavailable.code, CommonReason.INTERNAL, "could not be looked up: The eng"),
        (PlayedRuntime(), NotFound.code, CommonReason.CONTAINER_MISSING, "not found. Bring it."),
    ],
    ids=["engine away", "image missing"],
)
async def test_image_that_cannot_be_had_fails_the_deployment_with_its_reason(
    runtime: PlayedRuntime, code: int, reason: int, text: str
) -> None:
    state, context = ServicesState(MemoryStore()), instances(runtime)
    routes = Routes(CloudConfig(), state, context, declared_timeout=1.0)
    deployments = Deployments(state, routes, context)
    revision = run_v2.Revision.pb()(
        name=f"{NAME}/revisions/s-1", service="s", containers=[{"image": "demo/unknown:1"}]
    )
    operation = deployments.change(run_v2.Service.pb()(name=NAME, uid=UID, generation=1), revision)
    await deployments.settled(operation, within=5.0)

    ended, failed = state.operations.get(operation.name), state.revisions.get(revision.name)
    assert ended
    assert failed
    assert (ended.error.code, failed.conditions[0].reason) == (code, reason)
    assert f"Image 'demo/unknown:1' {text}" in ended.error.message
