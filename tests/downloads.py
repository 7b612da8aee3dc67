"""The bytes of a streamed answer to Django's test client."""

from typing import Any

from asgiref.sync import async_to_sync


def streamed(answer: Any) -> bytes:
    """Return everything that the answer streams."""

    async def collect() -> bytes:
        return b"".join([chunk async for chunk in answer.streaming_content])

    return async_to_sync(collect)()
