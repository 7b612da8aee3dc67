"""`python -m devenv.gcp --config devenv.toml --data .devenv/gcp`: run the emulated cloud."""

import argparse
import asyncio
import logging
import signal
import sys
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from devenv.gcp.config import CloudConfig, ConfigError, parse
from devenv.gcp.errors import CloudError
from devenv.gcp.server import Server

log = logging.getLogger("devenv.gcp")


def main() -> int:
    """Run until SIGTERM or Ctrl-C; exit code 2 for a configuration that cannot be."""
    start = time.perf_counter()
    options = _options()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    try:
        config = _moved(_config(options.config), dict(options.service_port))
        config = replace(config, storage=options.storage or config.storage)
        asyncio.run(_serve(config, options, start))
    except (OSError, tomllib.TOMLDecodeError, ConfigError, CloudError) as error:
        print(f"{options.config}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devenv.gcp", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("devenv.toml"))
    parser.add_argument("--data", type=Path, default=Path(".devenv/gcp"))
    parser.add_argument("--plain-port", type=int, default=0, help="default: that of the last time")
    parser.add_argument("--roots", type=Path, help="CA certificates to trust besides ours")
    parser.add_argument("--storage", default="", help="URL of a server that is Cloud Storage")
    parser.add_argument(
        "--service-port",
        type=_service_port,
        action="append",
        default=[],
        metavar="NAME=[HOST:]PORT",
        help="where a Cloud Run service listens, when it is not where devenv.toml has it",
    )
    return parser.parse_args()


def _service_port(text: str) -> tuple[str, tuple[str, int]]:
    name, _, place = text.partition("=")
    host, _, port = place.rpartition(":")
    return name, (host, int(port))


def _config(path: Path) -> CloudConfig:
    return parse(tomllib.loads(path.read_text()).get("gcp", {}))


def _moved(config: CloudConfig, places: Mapping[str, tuple[str, int]]) -> CloudConfig:
    services = []
    for service in config.services:
        host, port = places.get(service.name, ("", service.port))
        services.append(replace(service, host=host or service.host, port=port))
    return replace(config, services=tuple(services))


async def _serve(config: CloudConfig, options: argparse.Namespace, start: float) -> None:
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, enough.set)
    server = Server(
        config,
        data=options.data,
        project=options.config.parent,
        plain_port=options.plain_port,
        roots=options.roots,
    )
    await server.start()
    where = server.endpoints
    log.info(
        "ready in %.2fs: %s, proxy %s, project %s, iam %s",
        time.perf_counter() - start,
        where.plain,
        where.proxy,
        config.project,
        config.iam,
    )
    await enough.wait()
    await server.stop()


if __name__ == "__main__":
    sys.exit(main())
