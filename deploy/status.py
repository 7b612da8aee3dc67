"""The state of a stage in a few lines: services, releases, queues."""

from collections.abc import Iterator

from deploy.errors import explained
from deploy.layout import Layout
from deploy.resources.service import serving_revision


def status_lines(layout: Layout) -> Iterator[str]:
    """Yield one line for each service, release and queue of a stage. Raises DeployError."""
    yield f"site: {layout.names.site_url}"
    for service in layout.product.services:
        with explained(service.address):
            found, settings = service.found(), service.read()
        if found is None or settings is None:
            yield f"{service.address}: missing"
            continue
        tags = ", ".join(
            f"{each.tag} is {(each.revision or found.latest_ready_revision).rpartition('/')[2]}"
            for each in found.traffic
            if each.tag
        )
        yield (
            f"{service.address}: {settings['state']}, {serving_revision(found) or 'several revisions'}"
            f" has the traffic{f'; {tags}' if tags else ''}; image {settings['image']}"
        )
    for resource in layout.resources():
        if resource.kind in ("release", "queue"):
            with explained(resource.address):
                settings = resource.read()
            shown = ", ".join(f"{k} {v}" for k, v in settings.items()) if settings else "missing"
            yield f"{resource.address}: {shown}"
