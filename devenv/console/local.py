"""The stack as the console sees it: its state file, its logs, its processes, its supervisor."""

import os
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from devenv.console.problems import ConsoleProblem
from devenv.stack import control, statefile
from devenv.stack.problems import StackError
from devenv.stack.statefile import ServiceState, StackState

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes; the unit of resident memory in /proc/PID/stat


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service on the page of the stack; `memory` is in bytes, 0 while it does not run."""

    name: str
    state: ServiceState
    url: str
    port: int
    memory: int
    is_step: bool


class StackView:
    """Reader of the stack whose data is in the folder `state`, and the way to its supervisor."""

    def __init__(self, state: Path) -> None:
        self.folder = state
        self.logs = state / "logs"

    def state(self) -> StackState:
        """Return what the state file says now. Raises ConsoleProblem."""
        try:
            return statefile.read(self.folder / "state.json")
        except StackError as error:
            raise ConsoleProblem(error.message, status=503) from error

    def services(self) -> list[ServiceRow]:
        """Return the services in the order of their start."""
        state = self.state()
        memory = memory_of_groups()
        return [
            ServiceRow(
                name=name,
                state=one,
                url=state.urls.get(name, ""),
                port=state.ports.get(name, 0),
                memory=memory.get(one.pid, 0) if one.pid else 0,
                is_step=one.is_step,
            )
            for name, one in state.services.items()
        ]

    def service(self, name: str) -> ServiceRow:
        """Return one service. Raises ConsoleProblem if there is none of this name."""
        found = next((row for row in self.services() if row.name == name), None)
        if found is None:
            raise ConsoleProblem(f"There is no service {name[:60]!r} in this stack.", status=404)
        return found

    def command(self, command: str, service: str) -> None:
        """Have the supervisor start, stop or restart a service. Raises ConsoleProblem."""
        try:
            with control.connect(self.state().control) as client:
                client.ask(command, service=service)
        except StackError as error:
            hint = f" Next: {error.hint}" if error.hint else ""
            raise ConsoleProblem(f"{error.message}{hint}") from error


def memory_of_groups() -> Mapping[int, int]:
    """Return the resident memory in bytes of each process group, by its number.

    Each service is a group of its own, whose number is that of its first process.
    """
    found: dict[int, int] = defaultdict(int)
    pairs = _groups_of_proc() if (_PROC / "self/stat").exists() else _groups_of_ps()
    for group, size in pairs:
        found[group] += size
    return found


def _groups_of_proc() -> list[tuple[int, int]]:
    pairs = []
    for entry in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # The name of the program may have blanks: fields are counted after its bracket.
            fields = entry.read_text().rpartition(")")[2].split()
            pairs.append((int(fields[2]), int(fields[21]) * _PAGE))
    return pairs


def _groups_of_ps() -> list[tuple[int, int]]:
    try:
        listed = subprocess.run(
            ["ps", "-axo", "pgid=,rss="], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return []
    lines = (line.split() for line in listed.stdout.splitlines())
    return [(int(group), int(size) * 1024) for group, size in lines]


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A service in the graph of dependencies, at a place in pixels."""

    name: str
    state: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class DependencyGraph:
    """Services in columns: each stands right of everything that it needs."""

    nodes: Sequence[GraphNode]
    edges: Sequence[tuple[GraphNode, GraphNode]]
    width: int
    height: int


COLUMN, ROW, NODE_WIDTH, NODE_HEIGHT = 180, 52, 140, 36


def graph_of(services: Mapping[str, ServiceState]) -> DependencyGraph:
    """Return the graph of a stack's services."""
    needs = {name: [one for one in s.needs if one in services] for name, s in services.items()}
    column: dict[str, int] = {}
    for name in services:  # in the order of their start: what is needed comes first
        column[name] = 1 + max((column.get(one, -1) for one in needs[name]), default=-1)
    rows: dict[int, int] = defaultdict(int)
    nodes: dict[str, GraphNode] = {}
    for name, service in services.items():
        x, y = column[name] * COLUMN, rows[column[name]] * ROW
        rows[column[name]] += 1
        nodes[name] = GraphNode(name, service.state, x, y)
    edges = [(nodes[need], nodes[name]) for name in services for need in needs[name]]
    width = (1 + max(column.values(), default=0)) * COLUMN - (COLUMN - NODE_WIDTH)
    height = max(rows.values(), default=1) * ROW - (ROW - NODE_HEIGHT)
    return DependencyGraph(list(nodes.values()), edges, width, height)
