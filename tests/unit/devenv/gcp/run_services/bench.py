"""Contexts of Cloud Run services in tests, without containers."""

from typing import Any

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import NotFound
from devenv.gcp.run_jobs.containers import ContainerSources
from devenv.gcp.run_jobs.runtimes.base import JobsRuntime
from devenv.gcp.run_services.instances import InstanceContext
from devenv.gcp.run_services.service import RunServices
from tests.unit.devenv.gcp.fakes import FakeGuard, MemoryStore
from tests.unit.devenv.gcp.run_jobs.bench import PlayedRuntime, any_network, no_socket


def instances(runtime: JobsRuntime, **options: Any) -> InstanceContext:
    """Return a context whose secrets are nowhere."""
    settings: dict[str, Any] = {"clock": ManualClock(), "idle": 0.0, "cold_start": 0.0, **options}
    return InstanceContext(runtime=runtime, sources=NO_SOURCES, **settings)


def make_services(config: CloudConfig, **options: Any) -> RunServices:
    """Return the services of a project in which nobody has a token."""
    settings = {"guard": FakeGuard(), "claims": lambda _token: None, **options}
    context = instances(PlayedRuntime())
    return RunServices(config=config, store=MemoryStore(), context=context, **settings)


def no_secret(email: str, secret: str, version: str) -> bytes:
    raise NotFound(f"Secret [{secret}] not found or has no versions.")


NO_SOURCES = ContainerSources(no_secret, no_socket, any_network)
