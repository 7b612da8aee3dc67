"""`make bench`: start the stack in an empty folder, measure it, print a table for the docs."""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import (
    cloud,
    compare,
    console,
    containers,
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
    parser.add_argument("--against", metavar="REV", help="compare the load with this commit only")
    against = parser.parse_args().against
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        if against:
            _print(list(compare.measure(folder, against)), "ratio")
        else:
            _print(_everything(folder), "target")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _everything(folder: Path) -> list[Row]:
    rows = [_first_up(folder / "clone")]
    stack = stacks.make(folder / "stack")
    try:
        stacks.start(stack, fresh=True)
        rows += _measure(stack)
    finally:
        stack.devenv("down")
    return [
        *rows,
        *cloud.measure(),
        *console.measure(),
        *peer_speed.measure(),
        *parsers.measure(),
        *tables.measure(),
        *pictures.measure(),
        *product.measure(),
        *containers.measure(),
        *images.measure(),
    ]


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


def _print(rows: list[Row], last_column: str) -> None:
    write = sys.stdout.write
    write(f"Measured by `make bench` on {platform.machine()}, {_cores()} cores.\n\n")
    write(f"| figure | measured | {last_column} |\n|---|---|---|\n")
    for row in rows:
        write(f"| {' | '.join(row)} |\n")


def _cores() -> int:
    return Path("/proc/cpuinfo").read_text().count("processor\t")


if __name__ == "__main__":
    main()
