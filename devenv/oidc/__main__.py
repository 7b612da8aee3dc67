"""OpenID Connect provider: `python -m devenv.oidc --state .devenv --port 8030 --client-id shop`.

The client's secret is in the file of the stack's secrets: other users see the arguments of a process.
"""

import argparse
import asyncio
import json
from pathlib import Path

import uvicorn

from devenv.oidc.provider import OidcClient, OidcProvider, Person
from devenv.oidc.web import app
from devenv.secrets import OIDC_CLIENT_SECRET, Secrets


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devenv.oidc", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the folder .devenv of a stack")
    parser.add_argument("--port", type=int, default=8030)
    parser.add_argument("--client-id", required=True)
    parser.add_argument("--redirect-uri", action="append", default=[])
    parser.add_argument("--people", type=json.loads, default=[], help="a list as JSON")
    options = parser.parse_args()
    client = OidcClient(
        id=options.client_id,
        secret=Secrets.load(options.state / "secrets.env", {})[OIDC_CLIENT_SECRET],
        redirect_uris=tuple(options.redirect_uri),
    )
    provider = OidcProvider(
        issuer=f"http://localhost:{options.port}", client=client, folder=options.state / "oidc"
    )
    people = tuple(Person(**each) for each in options.people)
    server = uvicorn.Config(
        app(provider, people),
        host="127.0.0.1",
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
