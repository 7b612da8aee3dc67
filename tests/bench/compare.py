"""Two commits under the same load, in turns: `python -m tests.bench --against REV`.

The speed of a machine drifts with everything else that it does, so only a ratio that was measured in
one session says something. Each commit is cloned, with its own packages and its own stack; rounds
alternate between them, and each figure is the median of its rounds.
"""

import json
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench import load
from tests.checkout import ROOT
from tests.ports import on_free_ports

type Row = tuple[str, str, str]

ROUNDS = 5
# Clients at a time, runs of a round, and whether they poll.
LOADS = [(1, 60, False), (8, 240, False), (1, 60, True), (8, 240, True)]


def measure(folder: Path, against: str) -> Iterator[Row]:
    """Yield the figures of this checkout's commit, and their ratio to those of `against`."""
    places = [folder / "ours", folder / "theirs"]
    try:
        for place, commit in zip(places, ("HEAD", against), strict=True):
            _start(place, commit)
        targets = [load.Target(json.loads(_devenv(place, "status", "--json"))) for place in places]
        for clients, runs, poll in LOADS:
            yield from _alternate(targets, clients, runs, poll)
    finally:
        for place in places:
            if (place / ".venv").exists():
                _devenv(place, "down")


def _start(place: Path, commit: str) -> None:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place)], check=True)
    subprocess.run(["git", "checkout", "--quiet", _commit(commit)], cwd=place, check=True)
    settings = place / "devenv.toml"
    settings.write_text(on_free_ports(settings.read_text()))
    subprocess.run(
        ["make", "up", "DETACH=1", "WATCH=0"], cwd=place, check=True, capture_output=True
    )


def _commit(name: str) -> str:
    command = ["git", "rev-parse", name]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def _devenv(place: Path, *arguments: str) -> str:
    command = [".venv/bin/python", "-m", "devenv", *arguments]
    return subprocess.run(command, cwd=place, check=True, capture_output=True, text=True).stdout


def _alternate(targets: list[load.Target], clients: int, runs: int, poll: bool) -> Iterator[Row]:
    rounds: list[list[load.Load]] = [[], []]
    spent: list[dict[str, float]] = [{}, {}]
    for _ in range(ROUNDS):
        for target, results, sums in zip(targets, rounds, spent, strict=True):
            before = load.processor(target)
            results.append(load.measure(target, clients=clients, runs=runs, poll=poll))
            for name, after in load.processor(target).items():
                sums[name] = sums.get(name, 0) + after - before[name]
    way = f"{clients} at a time, {'polling' if poll else '`Prefer: wait`'}"
    rates = [statistics.median(each.rate for each in results) for results in rounds]
    p50s = [statistics.median(each.p50 for each in results) for results in rounds]
    yield f"{way}: runs/s", f"{rates[0]:.1f} of {rates[1]:.1f}", f"{rates[0] / rates[1]:.2f}"
    yield f"{way}: p50", f"{p50s[0]:.0f} ms of {p50s[1]:.0f} ms", f"{p50s[0] / p50s[1]:.2f}"
    count = ROUNDS * (runs // clients * clients + load.WARM_UP)
    for name in ("web", "worker", "postgres"):
        ours, theirs = (sums.get(name, 0) / count for sums in spent)
        if ours and theirs:
            yield (
                f"{way}: {name}, ms of processor per run",
                f"{ours:.1f} of {theirs:.1f}",
                f"{ours / theirs:.2f}",
            )
