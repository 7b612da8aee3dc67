"""The private half of the product: the queue, the scheduler and the validators call it."""

import os

from devenv.product import Product
from devenv.services import bridge, debugger
from devenv.stack.probe import HttpProbe
from devenv.stack.service import Service

_THREADS = str(2 * (os.cpu_count() or 2) + 1)  # the most that granian takes without a warning


def service(product: Product, python: str) -> Service:
    host, port = bridge.address(product), product.config.ports.worker
    return Service(
        name="worker",
        command=(
            *(python, "-m", "granian", "--interface", "wsgi"),
            *("--host", host, "--port", str(port)),
            *("--workers", "1", "--log-level", "warning"),
            *("--blocking-threads", _THREADS),
            "config.wsgi:application",
        ),
        environ=lambda: product.environ("worker") | debugger.variables(product, "worker"),
        needs=("setup",),
        probe=HttpProbe(port, "/health/", address=host),
    )
