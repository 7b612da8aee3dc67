"""TCP proxy from one address to another, with TLS if it has a certificate.

`python tests/flows/pipe.py LISTEN TO [CERTIFICATE KEY]` replaces the web server before a tunnel.
"""

import asyncio
import ssl
import sys
from contextlib import suppress


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _serve(listen: str, to: str, tls: ssl.SSLContext | None) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = to.rpartition(":")
        try:
            upstream, downstream = await asyncio.open_connection(host, int(port))
        except OSError:  # nothing listens there now
            writer.close()
            return
        await asyncio.gather(_copy(reader, downstream), _copy(upstream, writer))
        downstream.close()
        writer.close()

    host, _, port = listen.rpartition(":")
    async with await asyncio.start_server(handle, host, int(port), ssl=tls) as server:
        await server.serve_forever()


def _context(files: list[str]) -> ssl.SSLContext | None:
    if not files:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], _context(sys.argv[3:])))
