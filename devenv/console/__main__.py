"""`python -m devenv.console --state .devenv --port 8090`: serve the console of a stack.

The token is in the file of the stack's secrets: other users see the arguments of a process.
"""

import argparse
import asyncio
from pathlib import Path

import uvicorn

from devenv.console.app import ConsoleConfig, build
from devenv.secrets import CONSOLE_TOKEN, Secrets


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devenv.console", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the folder .devenv of a stack")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--title", default="devenv")
    parser.add_argument("--cloud", default="", help="URL of the emulated cloud")
    parser.add_argument("--mail", default="", help="URL of the mail catcher")
    parser.add_argument("--mail-page", default="", help="its URL in a browser, if that differs")
    parser.add_argument("--no-stack", action="store_true", help="show the emulated cloud alone")
    options = parser.parse_args()
    config = ConsoleConfig(
        state=options.state,
        token=Secrets.load(options.state / "secrets.env", {})[CONSOLE_TOKEN],
        title=options.title,
        cloud=options.cloud,
        cloud_data=options.state / "gcp",
        mail=options.mail,
        mail_page=options.mail_page or options.mail,
        has_stack=not options.no_stack,
    )
    server = uvicorn.Config(
        build(config),
        host=options.host,
        port=options.port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    asyncio.run(uvicorn.Server(server).serve())


if __name__ == "__main__":
    main()
