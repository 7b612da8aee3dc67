"""`python -m devenv.gcp --config devenv.toml --data .devenv/gcp`: run the emulated cloud."""

import argparse
import asyncio
import gc
import json
import logging
import signal
import sys
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from devenv.gcp import neighbours
from devenv.gcp.config import (
    LOOPBACK,
    CloudConfig,
    CloudPlace,
    ImageConfig,
    expand,
    own_values,
    parse,
)
from devenv.gcp.errors import CloudError
from devenv.gcp.large_pages import use_large_pages
from devenv.gcp.references import References
from devenv.gcp.tables import ConfigError

_EVERYWHERE = ("", "0.0.0.0")  # noqa: S104 - not bound here, compared
log = logging.getLogger("devenv.gcp")


def main() -> int:
    """Run until SIGTERM or Ctrl-C; exit code 2 for a configuration that cannot be."""
    start = time.perf_counter()
    options = _options()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    # Each call has a line, which shows none of this (https://docs.python.org/3/howto/logging.html).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # newer than its types
    logging._srcfile = None  # noqa: SLF001 - as that page says
    try:
        config = _moved(_config(options.config), dict(options.service_port))
        config = replace(config, storage=options.storage or config.storage)
        config = _debugged(config, dict(options.debugger))
        asyncio.run(_serve(config, options, start))
    except (OSError, tomllib.TOMLDecodeError, ConfigError, CloudError) as error:
        print(f"{options.config}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devenv.gcp", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("devenv.toml"))
    parser.add_argument(
        "--folder", type=Path, help="where commands of jobs run; default: that of the configuration"
    )
    parser.add_argument("--data", type=Path, default=Path(".devenv/gcp"))
    parser.add_argument("--plain-port", type=int, default=0, help="default: that of the last time")
    parser.add_argument("--roots", type=Path, help="CA certificates to trust besides ours")
    parser.add_argument("--storage", default="", help="URL of a server that is Cloud Storage")
    _add_container_options(parser)
    parser.add_argument(
        "--service-port",
        type=_service_port,
        action="append",
        default=[],
        metavar="NAME=[HOST:]PORT",
        help="where a Cloud Run service listens, when it is not where devenv.toml has it",
    )
    parser.add_argument(
        "--debugger",
        type=_debugger,
        action="append",
        default=[],
        metavar="IMAGE=PORT",
        help="its jobs, programs of Python's, wait for a debugger on this port before they begin",
    )
    options = parser.parse_args()
    if options.bind in _EVERYWHERE and not options.container_host:
        parser.error(
            f"--bind {options.bind} is not an address that containers can reach: give --container-host too"
        )
    return options


def _add_container_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bind", default=LOOPBACK, help="the address that all ports listen on")
    parser.add_argument("--jobs", choices=("process", "docker"), default="process")
    parser.add_argument(
        "--network", default="", help="the Docker network for jobs; default: one of their own"
    )
    parser.add_argument(
        "--container-host", default="", help="the name by which other containers find this one"
    )
    parser.add_argument(
        "--container", default="", help="the id of this container, to share a network with each job"
    )
    parser.add_argument("--label", default="", help="tells this cloud from others of the engine")
    parser.add_argument(
        "--first-port",
        type=int,
        default=0,
        help="port of the proxy; the metadata servers of the accounts are on the next ones",
    )
    parser.add_argument(
        "--announce", type=Path, help="a folder for other containers: CA bundle, shell variables"
    )


def _debugger(text: str) -> tuple[str, int]:
    image, _, port = text.rpartition("=")
    return image, int(port)


def _place(options: argparse.Namespace) -> CloudPlace:
    return CloudPlace(
        jobs=options.jobs,
        bind=options.bind,
        plain_port=options.plain_port,
        container_host=options.container_host,
        network=options.network,
        container=options.container,
        label=options.label,
    )


def _service_port(text: str) -> tuple[str, tuple[str, int]]:
    name, _, place = text.partition("=")
    host, _, port = place.rpartition(":")
    return name, (host, int(port))


def _config(path: Path) -> CloudConfig:
    """Read `[gcp]` of a devenv.toml, or of the same as JSON, where references are replaced already."""
    if path.suffix == ".json":
        return parse(json.loads(path.read_text()).get("gcp", {}))
    config = parse(tomllib.loads(path.read_text()).get("gcp", {}))
    return expand(config, References(own_values(config)))


def _moved(config: CloudConfig, places: Mapping[str, tuple[str, int]]) -> CloudConfig:
    services = []
    for service in config.services:
        host, port = places.get(service.name, ("", service.port))
        services.append(replace(service, host=host or service.host, port=port))
    return replace(config, services=tuple(services))


def _debugged(config: CloudConfig, ports: Mapping[str, int]) -> CloudConfig:
    images = (_waiting(image, ports.get(image.name)) for image in config.images)
    return replace(config, images=tuple(images))


def _waiting(image: ImageConfig, port: int | None) -> ImageConfig:
    """Return an image whose program begins once a debugger has come to the port."""
    if port is None:
        return image
    python, *rest = image.command
    listen = ("-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client")
    # Processes that the program starts have limits of their own, without room for a debugger.
    alone = ("--configure-subProcess", "false")
    return replace(image, command=(python, *listen, *alone, *rest), warm=())


async def _serve(config: CloudConfig, options: argparse.Namespace, start: float) -> None:
    gc.disable()  # until all is loaded: hardly any of it becomes garbage
    from devenv.gcp.server import CloudServer  # noqa: PLC0415

    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, enough.set)
    if options.first_port:
        neighbours.reserve(options.data, config.accounts, first=options.first_port)
    server = CloudServer(
        config,
        data=options.data,
        project=options.folder or options.config.parent,
        roots=options.roots,
        place=_place(options),
    )
    loop.add_signal_handler(signal.SIGHUP, server.reload)
    await server.start()
    where = server.endpoints
    if options.announce:
        neighbours.announce(options.announce, where)
    log.info(
        "ready in %.2fs: %s, proxy %s, project %s, iam %s",
        time.perf_counter() - start,
        where.plain,
        where.proxy,
        config.project,
        config.iam,
    )
    # Everything loaded stays; later collections need not look at it again.
    gc.freeze()
    gc.enable()
    use_large_pages()
    await enough.wait()
    await server.stop()


if __name__ == "__main__":
    sys.exit(main())
