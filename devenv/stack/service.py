"""What a service is, as frozen values: its command, what it needs, how its health is seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM, Signals

from devenv.stack.probe import Probe


@dataclass(frozen=True, slots=True)
class Restart:
    """How long to wait before what died is started again; `calm` seconds of life forget the past.

    A service that was never healthy is given up after `attempts` deaths: then its configuration
    or its code is wrong, and starting it again hides that.
    """

    first: float = 0.2
    ceiling: float = 5.0
    calm: float = 10.0
    attempts: int = 4

    def delay(self, deaths: int) -> float:
        return min(self.first * 2.0 ** max(deaths - 1, 0), self.ceiling)


@dataclass(frozen=True, slots=True)
class Once:
    """A step that runs to its end, and not again while `key` answers what `stamp` holds."""

    stamp: Path
    key: Callable[[], str]

    def is_done(self) -> bool:
        return self.stamp.is_file() and self.stamp.read_text() == self.key()

    def mark_done(self) -> None:
        self.stamp.write_text(self.key())


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """`needs` names what must be healthy (a server) or done (a step) before this one starts.

    `environ` is asked at each start: what a service needs may be known only then.
    """

    name: str
    command: tuple[str, ...]
    environ: Callable[[], Mapping[str, str]]
    needs: tuple[str, ...] = ()
    probe: Probe | None = None
    once: Once | None = None
    restart: Restart = field(default_factory=Restart)
    ready_within: float = 60.0
    stop_signal: Signals = SIGTERM
    stop_within: float = 10.0
