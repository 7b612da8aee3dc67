"""`make bench`: measure the parts of what the docs promise, and print a table for them.

`make bench PART='cloud peers'` measures only these parts. The part `stack` starts one in an empty folder.
"""

import argparse
import json
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from tests.bench import (
    cloud,
    compare,
    console,
    containers,
    filters,
    images,
    load,
    paint,
    parsers,
    peer_speed,
    pictures,
    product,
    tables,
    upload,
)
from tests.bench.memory import pss
from tests.checkout import ROOT
from tests.flows import stack as stacks
from tests.flows.stack import Stack

type Row = tuple[str, str, str]

SIMULATIONS = 7
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of these: {', '.join(_PARTS)}")
    parser.add_argument("--against", metavar="REV", help="compare the load with this commit only")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(_PARTS):
        parser.error(
            f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}"
        )
    # A stack outlives its parent, so its end has to be asked for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if options.against:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            _print(compare.measure(Path(folder), options.against), "ratio")
    else:
        _print(chain.from_iterable(_PARTS[part]() for part in options.parts or _PARTS), "target")


def _stack() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield _first_up(Path(folder, "clone"))
        stack = stacks.make(Path(folder, "stack"))
        try:
            stacks.start(stack, fresh=True)
            yield from _measure(stack)
        finally:
            stack.devenv("down")


def _measure(stack: Stack) -> Iterator[Row]:
    stack.devenv("down")
    yield _second_up(stack)
    time.sleep(5)
    yield _memory(stack)
    yield from paint.measure(stack.status())
    target = load.Target(stack.status())
    for poll in (False, True):
        yield from _load(target, poll=poll)
    yield from _simulations(stack)
    stack.devenv("down")
    stacks.start(stack, fresh=True, MAX_UPLOAD_BYTES=str(upload.LIMIT))
    yield from upload.measure(stack.status())


def _load(target: load.Target, *, poll: bool) -> Iterator[Row]:
    way = "polling every 20 ms" if poll else "`Prefer: wait`"
    one = load.measure(target, clients=1, runs=200, poll=poll)
    times = f"p50 {one.p50:.0f} ms, p95 {one.p95:.0f} ms"
    yield f"one run at a time, {way}: POST to COMPLETED", times, "p50 ≤ 40 ms"
    before = load.processor(target)
    rounds = [load.measure(target, clients=8, runs=600, poll=poll) for _ in range(ROUNDS)]
    spent = {name: after - before[name] for name, after in load.processor(target).items()}
    rates = sorted(each.rate for each in rounds)
    p50 = statistics.median(each.p50 for each in rounds)
    yield (
        f"8 at a time, {way}: median of {ROUNDS} rounds",
        f"{statistics.median(rates):.0f} runs/s ({rates[0]:.0f} to {rates[-1]:.0f}; p50 {p50:.0f} ms)",
        "≥ 60 runs/s",
    )
    each = (f"{name} {_per_run(ms, rounds)}" for name, ms in spent.items() if ms > 0)
    yield f"processor milliseconds of one of these runs, {way}", ", ".join(each), ""


def _first_up(clone: Path) -> Row:
    """Clone, then `make up` as a newcomer would, with the packages in the cache."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    started = time.perf_counter()
    subprocess.run(["make", "up", "DETACH=1"], cwd=clone, check=True, capture_output=True)
    seconds = time.perf_counter() - started
    subprocess.run(["make", "down"], cwd=clone, check=True, capture_output=True)
    shutil.rmtree(clone)
    return "first `make up` of a clone, packages cached", f"{seconds:.1f} s", "≤ 45 s"


def _second_up(stack: Stack) -> Row:
    started = time.perf_counter()
    stacks.start(stack, fresh=True)
    return "second `make up` to ready", f"{time.perf_counter() - started:.1f} s", "≤ 6 s"


def _memory(stack: Stack) -> Row:
    """Return the memory of all processes of the stack, the supervisor's and each service's."""
    state = json.loads((stack.root / ".devenv" / "state.json").read_text())
    pids = load.family(state["pid"])
    total = sum(map(pss, pids))
    services = stack.status()["services"].items()
    parts = {
        name: sum(map(pss, load.family(each["pid"]))) for name, each in services if each.get("pid")
    }
    parts["supervisor"] = total - sum(parts.values())
    listed = ", ".join(f"{name} {size:.0f}" for name, size in parts.items())
    name = f"whole stack, idle memory (PSS of {len(pids)} processes)"
    return name, f"{total:.0f} MB: {listed}", "≤ 500 MB"


def _per_run(milliseconds: float, rounds: list[load.Load]) -> str:
    return f"{milliseconds / sum(each.runs + load.WARM_UP for each in rounds):.0f}"


def _simulations(stack: Stack) -> Iterator[Row]:
    """Measure runs of container steps without the time of the program that simulates."""
    for name, slug, target in (
        ("EnergyPlus", "energyplus-small-office", "≤ 0.4 s"),
        ("FMU", "fmu-decay", "≤ 0.3 s"),
    ):
        overheads = []
        for _ in range(SIMULATIONS):
            started = time.perf_counter()
            run = stack.run(slug, stack.sample(slug))
            wall = time.perf_counter() - started
            values = {o["slug"]: o["value"] for o in run["steps"][0]["output_values"]}
            overheads.append(wall - values["execution_seconds"])
        median = statistics.median(overheads)
        yield f"{name} run: wall time minus the engine's own", f"{median:.2f} s", target


def _print(rows: Iterable[Row], last_column: str) -> None:
    """Write each row as soon as it is measured: all of them take long."""
    title = f"Measured by `make bench` on {platform.machine()}, {_cores()} cores."
    for line in (title, "", f"| figure | measured | {last_column} |", "|---|---|---|"):
        sys.stdout.write(f"{line}\n")
    for row in rows:
        sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()


def _cores() -> int:
    return Path("/proc/cpuinfo").read_text().count("processor\t")


_PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "stack": _stack,
    "cloud": cloud.measure,
    "console": console.measure,
    "filters": filters.measure,
    "peers": peer_speed.measure,
    "parsers": parsers.measure,
    "tables": tables.measure,
    "pictures": pictures.measure,
    "product": product.measure,
    "containers": containers.measure,
    "images": images.measure,
}

if __name__ == "__main__":
    main()
