"""A Docker engine in memory, and launches for it."""

import json
import threading
from collections.abc import Callable, Mapping, Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from containers import (
    ContainerExit,
    ContainerSpec,
    EngineUnavailable,
)
from containers.resources import CallbackNetwork
from validibot.runs.backends.base import (
    LaunchRequest,
)
from validibot.runs.backends.docker import backend as docker

ENVELOPE = Path(__file__).parents[5] / "tests/contract/envelopes/fmu.json"
DIGEST = f"sha256:{'d' * 64}"
UNREACHABLE = EngineUnavailable("The engine does not answer.")


@dataclass
class FakeContainer:
    """A container that runs until the test or a limit ends it."""

    name: str
    own_labels: Mapping[str, str]
    lines: list[str] = field(default_factory=list)
    ended: ContainerExit | None = None
    graces: list[float] = field(default_factory=list)
    removed: bool = False
    unreachable: bool = False
    _end: threading.Event = field(default_factory=threading.Event)

    def end(self, ended: ContainerExit) -> None:
        self.ended = ended
        self._end.set()

    def exit(self) -> ContainerExit | None:
        return self.ended

    def labels(self) -> Mapping[str, str]:
        if self.unreachable:
            raise UNREACHABLE
        return self.own_labels

    def terminate(self, *, grace: float) -> None:
        self.graces.append(grace)
        self.end(ContainerExit(signal=15, terminated=True))

    def follow(self, on_line: Callable[[str], object], *, max_bytes: int) -> None:
        for line in self.lines:
            on_line(line[:max_bytes])

    def wait(self) -> ContainerExit:
        assert self._end.wait(60)
        assert self.ended
        return self.ended

    def remove(self) -> None:
        if self.unreachable:
            raise UNREACHABLE
        self.removed = True


@dataclass
class FakeEngine:
    """An engine that keeps its containers in memory; `errors` are raised by the methods named."""

    image_user: str = "1000:1000"
    errors: dict[str, Exception] = field(default_factory=dict)
    specs: list[ContainerSpec] = field(default_factory=list)
    containers: dict[str, FakeContainer] = field(default_factory=dict)

    def digest(self, image: str) -> str:
        self._fail("digest")
        return DIGEST

    def user(self, image: str) -> str:
        assert image.endswith(f"@{DIGEST}")
        return self.image_user

    def start(self, spec: ContainerSpec) -> FakeContainer:
        self._fail("start")
        self.specs.append(spec)
        self.containers[spec.name] = FakeContainer(spec.name, spec.labels)
        return self.containers[spec.name]

    def find(self, name: str) -> FakeContainer | None:
        self._fail("find")
        return self.containers.get(name)

    def sweep_if(self, unwanted: Callable[[AbstractSet[str]], AbstractSet[str]]) -> list[str]:
        self._fail("sweep_if")
        return sorted(unwanted(self.containers.keys()))

    def callback_network(self) -> CallbackNetwork:
        return CallbackNetwork("callback", "172.18.0.1")

    def _fail(self, method: str) -> None:
        if error := self.errors.get(method):
            raise error


def store(path: Path, *, callback_url: str) -> None:
    envelope = json.loads(ENVELOPE.read_text())
    envelope["input_files"] = [
        item | {"uri": (path.parent / "model.fmu").as_uri()} for item in envelope["input_files"]
    ]
    envelope["context"]["callback_url"] = callback_url
    path.write_text(json.dumps(envelope))


def folder_of(request: LaunchRequest) -> Path:
    return Path(request.input_uri.removeprefix("file://")).parent


def backend(**options: Any) -> docker.DockerBackend:
    return docker.DockerBackend("default", {"OPTIONS": options})
