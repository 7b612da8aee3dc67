"""The mail catcher: what the product sends arrives here and nowhere else."""

from devenv.environment import machine
from devenv.product import Product
from devenv.stack.probe import HttpProbe
from devenv.stack.service import Service


def service(product: Product, python: str) -> Service:
    config = product.config
    return Service(
        name="mail",
        command=(
            *(python, "-m", "devenv.mail"),
            *("--smtp-port", str(config.ports.smtp)),
            *("--http-port", str(config.ports.mail)),
            *("--data", str(config.state / "mail.sqlite")),
        ),
        environ=lambda: machine() | {"PYTHONUNBUFFERED": "1"},
        probe=HttpProbe(config.ports.mail, "/readyz"),
    )
