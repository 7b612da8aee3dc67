"""What every tunnel program has in common: a command line, and lines to be understood."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from devenv.tunnel.config import TunnelConfig


@dataclass(frozen=True, slots=True)
class Sight:
    """What a line of the program told: the public origin, that traffic flows, what went wrong."""

    url: str = ""
    ready: bool = False
    trouble: str = ""


class Provider(ABC):
    """A tunnel program. It keeps no state: whoever runs it puts together what its lines tell."""

    name: ClassVar[str]
    install: ClassVar[str]
    """What to do where the program is not there."""

    def __init__(self, config: TunnelConfig) -> None:
        self._config = config

    @property
    def program(self) -> str:
        return self.command(port=0)[0]

    @property
    def url(self) -> str:
        """The public origin where it is known before the program runs, else nothing."""
        return self._config.url

    @property
    def keeps_its_url(self) -> bool:
        """Whether a restart leads to the same public origin."""
        return bool(self.url)

    @abstractmethod
    def command(self, *, port: int) -> tuple[str, ...]:
        """Return the command line that leads the tunnel to `port` of the loopback interface."""

    @abstractmethod
    def read(self, line: str) -> Sight:
        """Understand one line of what the program writes, whichever stream it came from."""

    def worth_logging(self, line: str) -> bool:
        """Say whether a person wants to see the line."""
        return True
