"""The services of this stack as data for the supervisor, and the URLs where they are found."""

from devenv.product import Product
from devenv.services import application, backing, bridge
from devenv.stack.service import StackService
from devenv.tunnel import published


def services(product: Product) -> tuple[StackService, ...]:
    """Return the services that `up` starts in the product's mode."""
    external = product.config.external
    return (
        *(() if external.postgres else (backing.postgres(product),)),
        *(() if external.smtp else (backing.mail(product),)),
        *((backing.gcp(product),) if product.has_cloud else ()),
        *((backing.tunnel(product),) if product.has_tunnel else ()),
        *application.setup_steps(product),
        application.worker(product),
        *((application.queue(product),) if product.has_queue else ()),
        *((application.sweep(product),) if product.has_tunnel else ()),
        application.web(product),
    )


def urls(product: Product) -> dict[str, str]:
    """Return the URL of each service."""
    ports = product.config.ports
    cloud = {"gcp": f"http://127.0.0.1:{ports.gcp}"} if product.has_cloud else {}
    found = published.read(published.file_in(product.config.state)) if product.has_tunnel else None
    return {
        "web": product.site_url,
        "worker": f"http://{bridge.address(product)}:{ports.worker}",
        "mail": product.mail_url,
        "smtp": product.smtp_url,
        **cloud,
        **({"queue": f"http://localhost:{ports.queue}/health/"} if product.has_queue else {}),
        **({"tunnel": found.url} if found else {}),
        "postgres": product.database_url,
    }
