"""The emulated Google Cloud: one process, durable below the state folder."""

from devenv.environment import machine
from devenv.product import Product
from devenv.services import debugger
from devenv.stack.probe import HttpProbe
from devenv.stack.service import Service


def service(product: Product, python: str) -> Service:
    config = product.config
    moved = [f"--service-port={service.name}={service.port}" for service in config.cloud.services]
    debugged = [f"--debugger={image}={port}" for image, port in debugger.images(product).items()]
    return Service(
        name="gcp",
        command=(
            *(python, "-m", "devenv.gcp"),
            *("--config", str(config.file)),
            *("--data", str(config.state / "gcp")),
            *("--plain-port", str(config.ports.gcp)),
            *("--jobs", product.jobs),
            *moved,
            *debugged,
        ),
        environ=lambda: machine() | {"PYTHONUNBUFFERED": "1"},
        probe=HttpProbe(config.ports.gcp, "/_devenv/health"),
    )
