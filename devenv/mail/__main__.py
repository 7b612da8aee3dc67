"""Mail catcher, one process with an SMTP and an HTTP port: `python -m devenv.mail`."""

import argparse
import asyncio
from collections.abc import Iterable
from pathlib import Path

import uvicorn

from devenv.mail import smtp
from devenv.mail.mailbox import Mailbox
from devenv.mail.web import app


async def serve(
    mailbox: Mailbox, *, host: str, smtp_port: int, http_port: int, hosts: Iterable[str] = ()
) -> None:
    """Serve until a signal arrives; `hosts` are names of this machine besides localhost."""
    mails = await smtp.serve(mailbox, host=host, port=smtp_port)
    config = uvicorn.Config(
        app(mailbox, hosts=hosts),
        host=host,
        port=http_port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        mails.close()
        mailbox.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 in a container")
    parser.add_argument("--smtp-port", type=int, default=1025)
    parser.add_argument("--http-port", type=int, default=8025)
    parser.add_argument("--data", type=Path, help="keep mails in this file; else in memory")
    parser.add_argument(
        "--allow-host", action="append", default=[], help="another name by which HTTP is reached"
    )
    arguments = parser.parse_args()
    mailbox = Mailbox(arguments.data or ":memory:")
    ports = {"smtp_port": arguments.smtp_port, "http_port": arguments.http_port}
    asyncio.run(serve(mailbox, host=arguments.host, hosts=arguments.allow_host, **ports))


if __name__ == "__main__":
    main()
