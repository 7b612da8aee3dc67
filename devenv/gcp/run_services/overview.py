"""Instances of Cloud Run services as the control API tells of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from devenv.gcp.errors import NotFound
from devenv.gcp.run_jobs.runtimes.base import AttemptExit
from devenv.gcp.run_services.instances import Instance
from devenv.gcp.run_services.routing import Routes


class InstancesView:
    """The instances of all services, those that ended last, and a way to stop one."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def show(self, _query: Mapping[str, str]) -> Mapping[str, Any]:
        """Return `instances`, those that have `ended`, the newest first, and `declared` processes.

        `starting` counts by service the instances that are not ready yet.
        """
        starting: dict[str, int] = {}
        ended = []
        for revision in self._routes.all_instances():
            ended += [_row(each, "ended") for each in revision.ended]
            if revision.starting:
                name = revision.service
                starting[name] = starting.get(name, 0) + revision.starting
        return {
            "instances": [
                {**_row(each, state), "memory": await each.running.memory()}
                for state, each in list(self._living())
            ],
            "ended": sorted(ended, key=lambda row: -row["ended"]),
            "starting": starting,
            "declared": {
                name: {"port": backend.origin.port, "active": backend.active}
                for name, backend in self._routes.declared.items()
            },
        }

    def stop(self, name: str) -> None:
        """Stop an instance. Raises NotFound."""
        if not any(each.stop_instance(name) for each in list(self._routes.all_instances())):
            raise NotFound(f"No instance {name[:200]!r} is ready.")

    def _living(self) -> Iterator[tuple[str, Instance]]:
        for revision in self._routes.all_instances():
            yield from revision.all()


def _row(instance: Instance, state: str) -> dict[str, Any]:
    attempt = instance.attempt
    return {
        "name": attempt.name,
        "label": attempt.instance_id,
        "service": attempt.env["K_SERVICE"],
        "revision": attempt.env["K_REVISION"],
        "state": state,
        "port": instance.origin.port,
        "started": instance.started,
        "active": instance.active,
        "ended": instance.ended,
        "exit": exit_text(instance.exit) if instance.exit else "",
    }


def exit_text(ended: AttemptExit) -> str:
    """Return how a container ended, in words."""
    if ended.out_of_memory:
        return "out of memory"
    if ended.lost:
        return "lost"
    how = f"signal {ended.signal}" if ended.signal else f"exit code {ended.code}"
    return f"stopped, {how}" if ended.terminated else how
