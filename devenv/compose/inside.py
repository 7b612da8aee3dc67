"""The stack as its own containers see it: each part has a name, and the usual port."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from socket import gaierror, gethostbyname
from typing import NoReturn

from devenv.config import External, load
from devenv.product import Product
from devenv.secrets import Secrets
from devenv.services import application

_STORAGE = "fake-gcs"
_OWNER = 1000  # of this image
_POSTGRES = 999  # of the image postgres:17
# Images of others get accounts of their own: ours may read the secrets that lie beside their folders.
_FOLDERS = {"gcp": _OWNER, "mail": 1001, _STORAGE: 1002, "postgres": _POSTGRES}
_LOCK = "compose/local/requirements.txt"
_BUILT_FROM = Path(sys.prefix, "requirements.sha256")


def require_fresh_image(root: Path) -> None:
    """Raise SystemExit if this image holds other packages than the mounted lock wants."""
    wanted = hashlib.sha256((root / _LOCK).read_bytes()).hexdigest()
    if _BUILT_FROM.exists() and _BUILT_FROM.read_text().split()[0] != wanted:
        raise SystemExit(
            f"This image was built before {_LOCK} changed. "
            "Next: docker compose -f docker-compose.local.yml build"
        )


def prepare(root: Path) -> None:
    """Make what the stack keeps to itself: PostgreSQL's part for its account, the rest for ours."""
    config = load(root)
    config.state.chmod(0o711)
    for name, owner in _FOLDERS.items():
        folder = config.state / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
        os.chown(folder, owner, owner)
    secrets = Secrets.load(config.secrets_file)
    password = config.state / "postgres" / "password"
    password.touch(mode=0o400)
    password.write_text(secrets.postgres_password)
    os.chown(config.secrets_file, _OWNER, _OWNER)
    os.chown(password, _POSTGRES, _POSTGRES)


def storage() -> str:
    """Return where fake-gcs-server is, if it belongs to this stack (the profile fake-gcs)."""
    try:
        gethostbyname(_STORAGE)
    except gaierror:
        return ""
    return f"http://{_STORAGE}:4443"


def product(root: Path, *, mode: str, site_port: int) -> Product:
    """Return the product among its containers; people reach it at `site_port` of their machine."""
    config = load(root)
    if site_port == config.ports.worker:
        raise SystemExit(f"WEB_PORT is {site_port}, the worker's in devenv.toml. Choose another.")
    secrets = Secrets.load(config.secrets_file)
    external = External(
        postgres=f"postgres://validibot:{secrets.postgres_password}@postgres:5432/validibot",
        smtp="smtp://mail:1025",
    )
    moved = config.on(replace(config.ports, web=site_port))
    return Product(
        config=replace(moved, external=external), secrets=secrets, mode=mode, jobs="docker"
    )


def set_up(product: Product) -> int:
    """Run the two steps before the product serves; not again while all that decides is the same."""
    stamp = product.config.state / "setup.done"
    key = f"{application.setup_key(product)} {storage()}"
    if stamp.exists() and stamp.read_text() == key:
        return 0
    for command in ("migrate", "setup_all"):
        done = subprocess.run(
            [sys.executable, "manage.py", command], env=product.environ("web"), check=False
        )
        if done.returncode:
            return done.returncode
    stamp.write_text(key)
    return 0


def become(product: Product, role: str, program: list[str]) -> NoReturn:
    """Execute a program in the environment of `role`."""
    os.execvpe(program[0], program, product.environ(role))


def facts(root: Path) -> str:
    """Return what only the volume knows: secrets, and what the setup made."""
    config = load(root)
    secrets = asdict(Secrets.load(config.secrets_file))
    seed = config.seed_file.read_text() if config.seed_file.exists() else "{}"
    # Samples are found below this machine's folder, not below the container's.
    return json.dumps({"secrets": secrets, "seed": json.loads(seed.replace(f"{root}/", ""))})
