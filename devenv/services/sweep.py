"""Looks for lost runs every minute where Google's Scheduler does not know this laptop."""

from devenv.product import Product
from devenv.stack.service import Service


def service(product: Product, python: str) -> Service:
    return Service(
        name="sweep",
        command=(python, "-m", "devenv.services.launch_sweep"),
        environ=lambda: product.environ("worker"),
        needs=("worker",),
    )
