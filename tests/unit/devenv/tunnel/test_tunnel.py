"""Unit tests of the life of a tunnel program: opening, restarts, giving up."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from devenv.stack.service import Restart
from devenv.tunnel import tunnel as tunnels
from devenv.tunnel.providers import Provider, Sight
from devenv.tunnel.tunnel import Tunnel, TunnelFailed
from tests.unit.devenv.tunnel.samples import config

AGAIN = Restart(first=0.01, ceiling=0.02, attempts=2)


class TunnelShell(Provider):
    """A tunnel program whose lines are `url X`, `ready` and `trouble X`."""

    name = "shell"
    install = "nothing"

    def __init__(self, script: str) -> None:
        super().__init__(config())
        self._script = script

    def command(self, *, port: int) -> tuple[str, ...]:
        return ("sh", "-c", self._script) if self._script else ("not-a-program",)

    def read(self, line: str) -> Sight:
        word, _, rest = line.partition(" ")
        return Sight(
            url=rest if word == "url" else "",
            ready=word == "ready",
            trouble=rest if word == "trouble" else "",
        )


def keep(script: str, folder: Path, *, until: Callable[[list[str]], bool]) -> list[str]:
    """Run until what was told satisfies `until`; return it."""
    told: list[str] = []

    async def main() -> None:
        enough = asyncio.Event()

        def opened(url: str) -> None:
            told.append(url)
            if until(told):
                enough.set()

        environ = dict(os.environ)  # noqa: TID251 - the child needs a PATH
        tunnel = Tunnel(
            TunnelShell(script),
            port=1,
            environ=environ,
            folder=folder,
            opened=opened,
            restart=AGAIN,
        )
        keeping = asyncio.create_task(tunnel.keep())
        waiting = asyncio.create_task(enough.wait())
        await asyncio.wait({keeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        keeping.cancel()
        await keeping

    with suppress(asyncio.CancelledError):
        asyncio.run(main())
    return told


def once(told: list[str]) -> bool:
    return len(told) == 1


def test_tunnel_is_open_after_url_and_readiness(tmp_path: Path) -> None:
    assert keep("echo url https://a; echo ready; sleep 60", tmp_path, until=once) == ["https://a"]
    assert keep("echo ready; echo url https://b; sleep 60", tmp_path, until=once) == ["https://b"]


def test_program_ends_with_tunnel(tmp_path: Path) -> None:
    keep("echo $$ > pid; echo url https://a; echo ready; sleep 60", tmp_path, until=once)

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_program_that_ends_restarts_with_new_url(tmp_path: Path) -> None:
    script = "echo x >> lives; echo url https://$(wc -l < lives); echo ready; sleep 0.05"

    told = keep(script, tmp_path, until=lambda told: len(told) == 3)

    assert told == ["https://1", "https://2", "https://3"]


def test_program_that_fails_is_given_up_with_its_error(tmp_path: Path) -> None:
    with pytest.raises(TunnelFailed, match=r"sh exited with 3 \(no such host\)\.") as failed:
        keep("echo x >> lives; echo trouble no such host; exit 3", tmp_path, until=once)

    assert (tmp_path / "lives").read_text() == "x\n" * AGAIN.attempts
    assert "try it by hand: sh -c" in failed.value.hint


def test_program_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels, "OPENS_WITHIN", 0.05)

    with pytest.raises(TunnelFailed, match="was not open within"):
        keep("sleep 60", tmp_path, until=once)


def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(TunnelFailed, match="not-a-program cannot be started: No such file"):
        keep("", tmp_path, until=once)
