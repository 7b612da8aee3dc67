"""The services of this stack, each in a file of its own, as data for the supervisor."""

import sys

from devenv.product import Product
from devenv.services import gcp, mail, postgres, setup, web, worker
from devenv.stack.service import Service


def services(product: Product) -> tuple[Service, ...]:
    """Return what `up` starts in the product's mode."""
    python = sys.executable
    cloud = (gcp.service(product, python),) if product.has_cloud else ()
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
    cloud = {"gcp": f"http://127.0.0.1:{ports.gcp}"} if product.has_cloud else {}
    return {
        "web": product.site_url,
        "worker": f"http://localhost:{ports.worker}",
        "mail": f"http://localhost:{ports.mail}",
        "smtp": f"smtp://127.0.0.1:{ports.smtp}",
        **cloud,
        "postgres": product.database_url,
    }
