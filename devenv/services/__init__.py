"""The services of this stack, each in a file of its own, as data for the supervisor."""

import sys

from devenv.product import Product
from devenv.services import bridge, gcp, mail, postgres, queue, setup, sweep, tunnel, web, worker
from devenv.stack.service import Service
from devenv.tunnel import published


def services(product: Product) -> tuple[Service, ...]:
    """Return what `up` starts in the product's mode."""
    python = sys.executable
    external = product.config.external
    return (
        *(() if external.postgres else (postgres.service(product, python),)),
        *(() if external.smtp else (mail.service(product, python),)),
        *((gcp.service(product, python),) if product.has_cloud else ()),
        *((tunnel.service(product, python),) if product.has_tunnel else ()),
        *setup.steps(product, python),
        worker.service(product, python),
        *((queue.service(product, python),) if product.has_queue else ()),
        *((sweep.service(product, python),) if product.has_tunnel else ()),
        web.service(product, python),
    )


def urls(product: Product) -> dict[str, str]:
    """Return where each service is found."""
    ports = product.config.ports
    cloud = {"gcp": f"http://127.0.0.1:{ports.gcp}"} if product.has_cloud else {}
    return {
        "web": product.site_url,
        "worker": f"http://{bridge.address(product)}:{ports.worker}",
        "mail": product.mail_url,
        "smtp": product.smtp_url,
        **cloud,
        **({"queue": f"http://localhost:{ports.queue}/health/"} if product.has_queue else {}),
        **_public(product),
        "postgres": product.database_url,
    }


def _public(product: Product) -> dict[str, str]:
    """Return where the world finds the worker, once the tunnel is open."""
    found = published.read(published.file_in(product.config.state))
    return {"tunnel": found.url} if product.has_tunnel and found else {}
