"""The services of this stack, each in a file of its own, as data for the supervisor."""

import sys

from devenv.environment import Product
from devenv.services import gcp, mail, postgres, setup, web, worker
from devenv.stack.service import Service


def services(product: Product) -> tuple[Service, ...]:
    """Return what `up` starts; mock mode does without the emulated cloud."""
    python = sys.executable
    cloud = () if product.mock else (gcp.service(product, python),)
    return (
        postgres.service(product, python),
        mail.service(product, python),
        *cloud,
        *setup.steps(product, python),
        worker.service(product, python),
        web.service(product, python),
    )


def urls(product: Product) -> dict[str, str]:
    """Return where each service is found."""
    ports = product.config.ports
    cloud = {} if product.mock else {"gcp": f"http://127.0.0.1:{ports.gcp}"}
    return {
        "web": product.site_url,
        "worker": f"http://localhost:{ports.worker}",
        "mail": f"http://localhost:{ports.mail}",
        "smtp": f"smtp://127.0.0.1:{ports.smtp}",
        **cloud,
        "postgres": product.database_url,
    }
