"""The public half of the product: pages and API."""

from devenv.product import Product
from devenv.services import debugger
from devenv.stack.probe import HttpProbe
from devenv.stack.service import Service


def service(product: Product, python: str) -> Service:
    port = product.config.ports.web
    return Service(
        name="web",
        command=(
            *(python, "-m", "granian", "--interface", "asginl"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--workers", "1", "--no-ws", "--log-level", "warning"),
            "config.asgi:application",
        ),
        environ=lambda: product.environ("web") | debugger.variables(product, "web"),
        needs=("setup",) if product.config.external.smtp else ("setup", "mail"),
        probe=HttpProbe(port, "/health/"),
    )
