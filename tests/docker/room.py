"""Container engine with an owner of its own, and Python programs in its containers."""

import secrets
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from containers import Container, ContainerEngine, ContainerExit, ContainerSpec
from tests import engine as engines
from tests.waiting import LIMIT

PYTHON = "python:3.13-slim-trixie"
MIB = 2**20


@dataclass(frozen=True)
class Ran:
    exit: ContainerExit
    log: str


class Room:
    """Runner of programs in containers; `api` is Docker's client."""

    def __init__(self, api: docker.APIClient) -> None:
        self.api = api
        self.engine = ContainerEngine(owner=f"test-{secrets.token_hex(4)}")

    def spec(self, source: str, **changes: Any) -> ContainerSpec:
        fields: dict[str, Any] = {
            "name": f"c-{secrets.token_hex(4)}",
            "image": PYTHON,
            "command": ("python3", "-uc"),
            "args": (textwrap.dedent(source),),
            "memory_bytes": 64 * MIB,
        }
        return ContainerSpec(**fields | changes)

    @contextmanager
    def running(self, source: str, **changes: Any) -> Iterator[Container]:
        container = self.engine.start(self.spec(source, **changes))
        try:
            yield container
        finally:
            container.remove()

    def run(self, source: str, **changes: Any) -> Ran:
        with self.running(source, **changes) as container:
            ended = container.wait()
            return Ran(ended, "\n".join(log_of(container)))

    def clear(self) -> None:
        self.engine.clear()
        self.engine.close()
        assert self.left() == []

    def left(self) -> list[Any]:
        """Return the remaining resources of this owner."""
        mine = {"label": f"io.validibot.owner={self.engine.owner}"}
        return [
            *self.api.containers(all=True, filters=mine),
            *self.api.networks(filters=mine),
            *(self.api.volumes(filters=mine)["Volumes"] or ()),
        ]


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    api = engines.connect().api
    room = Room(api)
    yield room
    room.clear()
    api.close()


def log_of(container: Container, *, most: int = 100 * MIB) -> list[str]:
    lines: list[str] = []
    container.follow(lines.append, max_bytes=most)
    return lines


def until_it_says(container: Container, wanted: str) -> None:
    """Wait until the container has written `wanted`."""
    said = threading.Event()

    def hear(line: str) -> None:
        if wanted in line:
            said.set()

    follow = threading.Thread(target=container.follow, args=(hear,), kwargs={"max_bytes": MIB})
    follow.start()
    assert said.wait(LIMIT), f"The container never wrote {wanted}"
