"""Testcontainers class of the emulated cloud: `pip install devenv-stack[testcontainers]`.

The programs under test are processes of this machine. docs/cloud-image.md shows how other containers
become clients.
"""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from docker.errors import DockerException, ImageNotFound
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import HttpWaitStrategy

from devenv.gcp.cloud import OPEN_PROJECT
from devenv.gcp.config import CloudConfig
from devenv.gcp.intercept.endpoints import environ
from devenv.gcp.java import trust_store, trust_store_of

IMAGE = "devenv/gcp:0.1.0"
# The ports of the image: plain, proxy, then the metadata servers of the accounts in their order.
PLAIN, PROXY, _FIRST = 4588, 4589, 4590
_CONFIG = "/etc/cloud.json"


class CloudContainer(DockerContainer):
    """The emulated cloud in a container, ready within `with`: `CloudContainer(config).environ("web")`.

    Without a configuration the project has one account, `app`, that may do everything. The container
    that removes forgotten ones needs a registry; TESTCONTAINERS_RYUK_DISABLED=true does without.
    """

    def __init__(
        self, config: CloudConfig = OPEN_PROJECT, *, image: str = IMAGE, **options: Any
    ) -> None:
        super().__init__(image, **options)
        self._project = config
        self._temporary = TemporaryDirectory(prefix="gcp-")
        self._folder = Path(self._temporary.name)
        self._metadata = {name: _FIRST + n for n, name in enumerate(config.accounts)}
        self.with_exposed_ports(PLAIN, PROXY, *self._metadata.values())
        text = json.dumps({"gcp": asdict(config)})
        self.with_copy_into_container(text.encode(), _CONFIG)
        self.with_command(["--config", _CONFIG])
        self.waiting_for(HttpWaitStrategy(PLAIN, "/_devenv/health"))

    def start(self) -> Self:
        """Start the container, and copy its CA bundle for clients on this machine.

        Raises RuntimeError where the engine has no such image and cannot pull it.
        """
        try:
            super().start()
        except DockerException as error:
            self._temporary.cleanup()
            if self._has_image():
                raise
            raise RuntimeError(
                f"The engine has no image {self.image}, and cannot pull it. Build it by `make "
                "cloud-image` in the repository of devenv, or name another: CloudContainer(image=…)."
            ) from error
        self._bundle = self._folder / "bundle.pem"
        self._bundle.write_bytes(bundle := self._read("/google/bundle.pem"))
        Path(trust_store_of(self._bundle)).write_bytes(trust_store(bundle))
        return self

    def stop(self, force: bool = True, delete_volume: bool = True) -> None:
        """Remove the container with its data, and the CA bundle."""
        super().stop(force=force, delete_volume=delete_volume)
        self._temporary.cleanup()

    @property
    def plain_url(self) -> str:
        """The plain HTTP endpoint, for clients with an option for one."""
        return f"http://{self._address(PLAIN)}"

    def environ(self, account: str) -> dict[str, str]:
        """Return the variables of a process of this machine that is `account` (its short name).

        They go over those of the machine: `os.environ | cloud.environ("web")`. Raises ValueError.
        """
        if account not in self._metadata:
            known = ", ".join(self._metadata)
            raise ValueError(f"The project has no account {account!r:.60}; it has {known}.")
        gcloud = self._folder / account
        gcloud.mkdir(exist_ok=True)
        return environ(
            project=self._project.project,
            proxy=f"http://{self._address(PROXY)}",
            bundle=self._bundle,
            metadata=self._address(self._metadata[account]),
            gcloud=gcloud,
        )

    @property
    def bundle(self) -> Path:
        """The CA bundle that clients trust."""
        return self._bundle

    def _has_image(self) -> bool:
        try:
            self.get_docker_client().client.images.get(self.image)
        except ImageNotFound:
            return False
        return True

    def _address(self, port: int) -> str:
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(port)}"

    def _read(self, path: str) -> bytes:
        code, output = self.exec(["cat", path])
        if code:
            raise FileNotFoundError(f"{path} in {self.image}: {output.decode(errors='replace')}")
        return bytes(output)
