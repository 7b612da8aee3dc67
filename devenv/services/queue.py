"""The process that takes tasks out of the database, where there is no Cloud Tasks to deliver them."""

from devenv.product import Product
from devenv.services import debugger
from devenv.stack.probe import HttpProbe
from devenv.stack.service import Service


def service(product: Product, python: str) -> Service:
    port = product.config.ports.queue
    return Service(
        name="queue",
        command=(
            *(python, *debugger.launcher(product, "queue")),
            *("manage.py", "queue_worker", "--health-port", str(port)),
        ),
        environ=lambda: product.environ("worker"),
        needs=("setup",),
        probe=HttpProbe(port, "/health/"),
    )
