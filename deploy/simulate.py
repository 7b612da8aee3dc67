"""The load of a stage at a rate of runs, against the limits of its file and of Google.

By Little's law the number of things in progress is their rate times the seconds that each takes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.stage import ServiceSize, Stage

_POOL = 20  # the product's own default of DATABASE_POOL
_CONNECTIONS_NAME = "database connections"
_CONNECTIONS = 400  # of a database that the stage does not describe


@dataclass(frozen=True, kw_only=True)
class RunProfile:
    """The costs of a run; docs/scale.md names the source of each number.

    `container_share` is the part of the runs that have a container step, `container_seconds` the time
    of one. Processor times are in seconds.
    """

    container_share: float = 0.2
    container_seconds: float = 30.0
    web_requests: float = 3.0
    web_request_seconds: float = 0.05
    web_processor: float = 0.01
    task_seconds: float = 0.1
    worker_processor: float = 0.007
    container_writes: float = 4.0
    container_reads: float = 3.0


@dataclass(frozen=True, slots=True)
class LoadLimit:
    """One limit: `need` at a rate against `limit`, with the arithmetic and who sets the limit."""

    name: str
    need: float
    limit: float
    arithmetic: str
    source: str

    @property
    def share(self) -> float:
        """How much of the limit is needed; more than 1 does not fit."""
        return self.need / self.limit

    def line(self) -> str:
        """Return the limit as a line of text."""
        verdict = "ok" if self.share <= 1 else "OVER"
        return (
            f"{verdict:<5} {self.name}: {_plain(self.need)} of {self.limit:,g} = {self.arithmetic} "
            f"({self.source})"
        )


def load_limits(
    stage: Stage, rate: float, connections: int, profile: RunProfile
) -> Iterator[LoadLimit]:
    """Yield every limit at `rate` runs per second.

    `connections` is the limit of the database, 0 for that of the stage's own one.
    """
    each = profile
    file, queue = f"{stage.name}.toml", stage.queues.runs
    containers = rate * each.container_share
    # A run is one task; a container step ends with another one, which goes on with the run.
    tasks = rate + containers
    shown = f"{_plain(rate)} runs/s x (1 + {each.container_share:g})"
    yield LoadLimit("queue rate", tasks, queue.max_dispatches_per_second, shown, file)
    yield LoadLimit("queue rate of Cloud Tasks", tasks, 500, shown, "Cloud Tasks")
    busy = tasks * each.task_seconds
    shown = f"{_plain(tasks)} tasks/s x {each.task_seconds:g} s"
    yield LoadLimit("queue deliveries at once", busy, queue.max_concurrent_dispatches, shown, file)
    # Callbacks of containers are requests to the worker, too.
    busy += containers * each.task_seconds
    yield _instances("worker", stage.worker, busy, rate * each.worker_processor, file)
    busy = rate * each.web_requests * each.web_request_seconds
    yield _instances("web", stage.web, busy, rate * each.web_processor, file)
    yield connection_limit(stage, connections)
    running = containers * each.container_seconds
    shown = f"{_plain(containers)} containers/s x {each.container_seconds:g} s"
    yield LoadLimit("running executions", running, 1000, shown, "Cloud Run")
    for kind, count, limit in (
        ("writes", each.container_writes, 1000),
        ("reads", each.container_reads, 5000),
    ):
        shown = f"{_plain(containers)} containers/s x {count:g}"
        yield LoadLimit(f"bucket {kind}/s", containers * count, limit, shown, "Cloud Storage")


def connection_limit(stage: Stage, connections: int = 0) -> LoadLimit:
    """Return the limit of the database, which depends on the stage file alone."""
    pool = int(stage.env.get("DATABASE_POOL", _POOL))
    most = stage.web.max_instances + stage.worker.max_instances
    size = stage.database
    return LoadLimit(
        *(_CONNECTIONS_NAME, most * pool),
        connections or (size.connections if size else _CONNECTIONS),
        f"{most} instances x {pool}, at most, whatever the rate",
        size.tier if size and not connections else "--connections",
    )


def _instances(name: str, size: ServiceSize, busy: float, processor: float, file: str) -> LoadLimit:
    """Return the limit of a service: by requests in progress or by processors, the larger."""
    by_requests, by_processor = busy / size.concurrency, processor / int(size.cpu)
    if by_requests >= by_processor:
        shown = f"{_plain(busy)} requests at once / {size.concurrency}"
    else:
        shown = f"{_plain(processor)} processors busy / {size.cpu}"
    need = max(by_requests, by_processor)
    return LoadLimit(f"{name} instances", need, size.max_instances, shown, file)


def _plain(number: float) -> str:
    """Return a number with at most three decimals, without exponent."""
    return f"{number:,.3f}".rstrip("0").rstrip(".")


def simulation_lines(
    stage: Stage, rate: float, connections: int, profile: RunProfile
) -> Iterator[str]:
    """Yield the limits at a rate as text, then the one that binds first."""
    limits = list(load_limits(stage, rate, connections, profile))
    yield f"{stage.name} at {rate:,g} runs/s"
    for limit in limits:
        yield f"  {limit.line()}"
    # The connections depend on the file alone, so no rate makes them bind.
    scaling = [each for each in limits if each.name != _CONNECTIONS_NAME]
    first = max(scaling, key=lambda each: each.share)
    yield f"  binds first: {first.name}, at {rate / first.share:,.3g} runs/s"
