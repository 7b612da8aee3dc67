"""The emulated cloud in a thread of its own, for tests and other programs in the same process.

`with Cloud(config, data=path) as cloud:` starts a server in an event loop of its own, and yields an
object that tells how to become its client: the environment of an account, the proxy, the CA bundle.
"""

import asyncio
import threading
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.place import HERE, CloudPlace
from devenv.gcp.server import CloudServer

_TIMEOUT = 30.0  # seconds for a start or a stop


class Cloud:
    """A running cloud, from `__enter__` to `__exit__`."""

    def __init__(
        self,
        config: CloudConfig,
        *,
        data: Path,
        project: Path = Path(),
        clock: Clock | None = None,
        roots: Path | None = None,
        place: CloudPlace = HERE,
    ) -> None:
        self._make = partial(
            CloudServer,
            config,
            data=data,
            project=project,
            clock=clock,
            roots=roots,
            place=place,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gcp", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._run(self._server.stop())
        self._run(_let_connections_go())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def proxy_url(self) -> str:
        return self._server.endpoints.proxy

    @property
    def plain_url(self) -> str:
        return self._server.endpoints.plain

    @property
    def bundle(self) -> Path:
        return Path(self._server.endpoints.bundle)

    @property
    def control_token(self) -> str:
        """The token of the control API, `/_devenv/` on the plain port."""
        return self._server.control_token

    def environ(self, account: str) -> dict[str, str]:
        """Return the variables of a process that is `account` (short name or e-mail)."""
        return self._server.environ(account)

    async def _start(self) -> None:
        self._server = self._make()
        await self._server.start()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT)


async def _let_connections_go() -> None:
    """Let the loop close broken connections, which it does in its next round."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
