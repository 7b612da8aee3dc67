"""The tunnel and its gate, where the cloud is Google's own: open once a round trip has succeeded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devenv.environment import developer
from devenv.product import Product
from devenv.stack.service import Restart, Service
from devenv.tunnel import published


@dataclass(frozen=True, slots=True)
class OpenProbe:
    """Healthy when the process has published a public URL."""

    file: Path

    async def is_healthy(self, environ: Mapping[str, str]) -> bool:
        found = published.read(self.file)
        return found is not None and found.is_alive()


def service(product: Product, python: str) -> Service:
    config = product.config
    return Service(
        name="tunnel",
        command=(
            *(python, "-m", "devenv.services.launch_tunnel"),
            *("--root", str(config.root), "--worker-port", str(config.ports.worker)),
        ),
        environ=lambda: developer() | {"PYTHONUNBUFFERED": "1"},
        probe=OpenProbe(published.file_in(config.state)),
        restart=Restart(attempts=1),  # it has tried several times itself before it ends
        ready_within=240.0,
    )
