"""Calls that block, each in a thread that nobody has to wait for when the emulator ends."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


def in_thread[T](call: Callable[[], T]) -> asyncio.Future[T]:
    """Start `call`; unlike an executor's, its thread does not hold the process up.

    Containers may run for days, and an engine that hangs gives no answer.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (call(), None)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome = (None, error)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="container", daemon=True).start()
    return future
