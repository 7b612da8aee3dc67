"""The emulated cloud in a thread of its own, for tests and other programs in the same process.

`with Cloud() as cloud:` starts a server in an event loop of its own, and yields an object that tells
how to become its client: the environment of an account, the proxy, the CA bundle. Without a
configuration the project has one account, `app`, that may do everything; without a folder its data
are gone at the end.
"""

import asyncio
import shutil
import threading
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from devenv.gcp.config import HERE, CloudConfig, CloudPlace, IamBinding
from devenv.gcp.server import CloudServer

_TIMEOUT = 30.0  # seconds for a start or a stop
_OWNER = ("roles/owner", "roles/cloudtasks.admin", "roles/iam.serviceAccountTokenCreator")
# A project for tests, whose account `app` may do everything.
OPEN_PROJECT = CloudConfig(
    project="test-project",
    accounts=("app",),
    bindings=tuple(IamBinding("app", role) for role in _OWNER),
)
# The content of the project; the rest of the data folder is ports, keys and the CA.
_CONTENT = ("state.sqlite3*", "journal.sqlite3*", "objects", "logs", "services")


class Cloud:
    """A running cloud, from `__enter__` to `__exit__`."""

    def __init__(
        self,
        config: CloudConfig = OPEN_PROJECT,
        *,
        data: Path | None = None,
        project: Path = Path(),
        roots: Path | None = None,
        place: CloudPlace = HERE,
    ) -> None:
        self._temporary = None if data else TemporaryDirectory(prefix="gcp-")
        self._data = data or Path(self._temporary.name if self._temporary else "")
        self._config = config
        self._make = partial(
            CloudServer,
            data=self._data,
            project=project,
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
        if self._temporary:
            self._temporary.cleanup()

    @property
    def config(self) -> CloudConfig:
        return self._config

    @property
    def proxy_url(self) -> str:
        return self._server.endpoints.proxy

    @property
    def plain_url(self) -> str:
        return self._server.endpoints.plain

    @property
    def data(self) -> Path:
        """The folder of everything that the cloud keeps."""
        return self._data

    @property
    def bundle(self) -> Path:
        return Path(self._server.endpoints.bundle)

    @property
    def control_token(self) -> str:
        """The token of the control API, `/_devenv/` on the plain port."""
        return self._server.control_token

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it has, by the names of the journal."""
        return self._server.methods

    def environ(self, account: str) -> dict[str, str]:
        """Return the variables of a process that is `account` (short name or email)."""
        return self._server.environ(account)

    def restart(self, config: CloudConfig | None = None, *, clean: bool = False) -> None:
        """Stop and start, with another configuration if one is given, on the same ports.

        A `clean` one has nothing but what the configuration declares.
        """
        self._run(self._restart(config or self._config, clean=clean))

    def access_token(self, account: str) -> str:
        """Return an OAuth access token of an account (short name or email)."""
        return self._server.access_token(account)

    async def _start(self) -> None:
        self._server = self._make(self._config)
        await self._server.start()

    async def _restart(self, config: CloudConfig, *, clean: bool) -> None:
        await self._server.stop()
        for pattern in _CONTENT if clean else ():
            for path in self._data.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._config = config
        await self._start()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT)


async def _let_connections_go() -> None:
    """Let the loop close broken connections, which it does in its next round."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
