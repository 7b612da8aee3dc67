"""`python -m devenv.mail`: one process with an SMTP port and an HTTP port."""

import argparse
import asyncio
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from devenv.mail import smtp
from devenv.mail.api import Api
from devenv.mail.mailbox import Mailbox
from devenv.mail.page import Page


def app(mailbox: Mailbox) -> Starlette:
    return Starlette(routes=[*Page(mailbox).routes(), *Api(mailbox).routes()])


async def serve(mailbox: Mailbox, *, host: str, smtp_port: int, http_port: int) -> None:
    """Serve until a signal arrives."""
    mails = await smtp.serve(mailbox, host=host, port=smtp_port)
    config = uvicorn.Config(
        app(mailbox),
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
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 inside of a container")
    parser.add_argument("--smtp-port", type=int, default=1025)
    parser.add_argument("--http-port", type=int, default=8025)
    parser.add_argument("--data", type=Path, help="keep mails in this file; else in memory")
    arguments = parser.parse_args()
    mailbox = Mailbox(arguments.data or ":memory:")
    ports = {"smtp_port": arguments.smtp_port, "http_port": arguments.http_port}
    asyncio.run(serve(mailbox, host=arguments.host, **ports))


if __name__ == "__main__":
    main()
