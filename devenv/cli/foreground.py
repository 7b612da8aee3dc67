"""`up` in the foreground: from the first process to the last."""

import asyncio
import os
import signal
from dataclasses import asdict

from devenv.cli import checks, summary
from devenv.cli.board import Board
from devenv.cli.context import Context
from devenv.environment import wants_reload
from devenv.product import Product
from devenv.services import services, urls
from devenv.stack.logfile import tail
from devenv.stack.problems import ServiceFailed
from devenv.stack.statefile import StackState
from devenv.stack.supervisor import Supervisor

_LAST_LINES = 15


class Foreground:
    """One run, in one event loop; the first signal stops it politely, the second at once."""

    def __init__(self, context: Context, product: Product, *, stream: bool) -> None:
        self._context = context
        self._stream = stream
        self._output = context.output
        self._product = product
        self._board = Board(
            config=context.config,
            output=context.output,
            state=StackState(
                phase="starting",
                pid=os.getpid(),
                mode=self._product.mode,
                jobs=self._product.jobs,
                ports=asdict(self._product.config.ports),
                debug=self._product.debug,
                urls=urls(self._product),
            ),
        )
        self._supervisor = Supervisor(
            services(self._product), folder=context.config.root, observer=self._board
        )
        self._stop = asyncio.Event()
        self._code = 0
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)):
            loop.add_signal_handler(number, self._asked_to_stop, code)
        self._board.enter("starting")
        if (engine := checks.energyplus()).fix:
            self._output.warn(f"EnergyPlus: {engine.text}. Next: {engine.fix}")
        if wants_reload():
            self._reloading = asyncio.create_task(self._reload_on_edits())
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and starting.result():
            await stopping
        starting.cancel()
        if self._reloading:
            self._reloading.cancel()
        await self._take_down()
        return self._code

    async def _start(self) -> bool:
        try:
            await self._supervisor.up()
        except ServiceFailed as error:
            self._report(error)
            return False
        self._board.enter("ready")
        if self._stream:
            facts = summary.facts(self._product, self._board.state)
            self._output.result(facts, summary.table(facts, self._output))
            self._output.say("  Ctrl-C stops everything. The logs follow.\n")
            self._board.streaming = True
        return True

    async def _reload_on_edits(self) -> None:
        try:
            await self._supervisor.reload_on_edits()
        except* OSError as errors:
            reason = errors.exceptions[0]
            self._output.warn(f"Edits are not noticed: {reason}. Next: make down && make up")

    def _report(self, error: ServiceFailed) -> None:
        self._code = 1
        self._stop.set()
        for line in tail(self._context.config.logs / f"{error.service}.log", _LAST_LINES):
            self._output.say(f"    {line}")
        self._output.fail(error.message, hint=error.hint)
        self._board.enter("starting", error=error.message)

    def _asked_to_stop(self, code: int) -> None:
        if self._stop.is_set():
            self._supervisor.kill()
            self._board.enter("stopped")
            self._output.say("  Killed.")
            os._exit(code)
        self._code = code
        self._stop.set()

    async def _take_down(self) -> None:
        self._board.streaming = False
        error = self._board.state.error
        self._board.enter("stopping", error=error)
        self._output.say("\n  Stopping. Ctrl-C again kills at once.")
        await self._supervisor.down()
        self._board.enter("failed" if error else "stopped", error=error)
        self._output.success("Stopped; the data stays. make up brings everything back.")
