"""Time to start a container, compared with a bare `docker run` with the same flags."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator

from containers import ContainerEngine, ContainerSpec, EngineUnavailable

type Row = tuple[str, str, str]

IMAGE = "debian:trixie-slim"
ROUNDS = 10
_MEMORY = 64 * 2**20
_FLAGS = (
    *("--network", "none", "--read-only", "--cap-drop", "ALL", "--init", "--ipc", "private"),
    *("--security-opt", "no-new-privileges", "--pids-limit", "512", "--cpus", "1"),
    *("--memory", str(_MEMORY), "--memory-swap", str(_MEMORY), "--oom-score-adj", "500"),
    *("--ulimit", "core=0:0", "--ulimit", "nofile=4096:4096", "--user", "1000:1000"),
    *("--log-opt", "max-size=10m", "--log-opt", "max-file=1", "--no-healthcheck"),
    *("--tmpfs", "/tmp:size=64m,mode=1777,nosuid,nodev,exec", "--entrypoint", "true"),
)


def measure() -> Iterator[Row]:
    """Yield the rows; none where there is no engine or no image."""
    engine = ContainerEngine(owner=f"bench-{os.getpid()}")
    try:
        if not engine.has(IMAGE):
            return
    except EngineUnavailable:
        return
    try:
        ours, bare = _in_turns(lambda: _ours(engine), _bare)
    finally:
        engine.clear()
        engine.close()
    yield (
        f"container from start to removal, median of {ROUNDS}; bare `docker run`: {bare:.0f} ms",
        f"{ours:.0f} ms ({ours / bare - 1:+.0%})",
        "≤ +15 %",
    )


def _in_turns(*ways: Callable[[], None]) -> list[float]:
    """Return each way's median in milliseconds; whatever else the machine does, it does to all."""
    took: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way()
    for _ in range(ROUNDS):
        for way, times in zip(ways, took, strict=True):
            began = time.perf_counter()
            way()
            times.append(1000 * (time.perf_counter() - began))
    return [statistics.median(times) for times in took]


def _ours(engine: ContainerEngine) -> None:
    spec = ContainerSpec(
        name="bench",
        image=IMAGE,
        command=("true",),
        memory_bytes=_MEMORY,
        scratch_bytes=_MEMORY,
    )
    container = engine.start(spec)
    container.wait()
    container.remove()


def _bare() -> None:
    subprocess.run(["docker", "run", "--rm", *_FLAGS, IMAGE], check=True)


if __name__ == "__main__":
    for row in measure():
        print(*row, sep=" | ")  # noqa: T201
