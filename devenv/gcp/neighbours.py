"""Fixed ports, and files for other containers, of an emulated cloud that is a container itself.

A compose file names ports, and containers of a cloud's clients share a volume with it: there they
find its CA bundle, and for each account a script that makes a shell its client (`. /google/web.sh`).
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from devenv.gcp.intercept import endpoints
from devenv.gcp.intercept.endpoints import Endpoints
from devenv.gcp.java import trust_store, trust_store_of

BUNDLE = "bundle.pem"


def reserve(data: Path, accounts: Sequence[str], *, first: int) -> None:
    """Have the cloud listen on `first` for its proxy, and on the next ports for each account.

    Must be called before the cloud of the folder `data` starts.
    """
    file = data / "endpoints.json"
    data.mkdir(parents=True, exist_ok=True)
    before = endpoints.read(file)
    ours = {account: first + 1 + number for number, account in enumerate(accounts)}
    others = {name: port for name, port in before.metadata.items() if port not in ours.values()}
    proxy = f"http://localhost:{first}"
    replace(before, proxy=proxy, metadata={**others, **ours}).write(file)


def announce(folder: Path, found: Endpoints) -> None:
    """Write the CA bundle and a shell script for each account, for other users to read."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle = Path(found.bundle).read_bytes()
    _write(folder / BUNDLE, bundle)
    _write(Path(trust_store_of(folder / BUNDLE)), trust_store(bundle))
    own, shared = (str(trust_store_of(Path(path))) for path in (found.bundle, folder / BUNDLE))
    for account, environ in found.environ.items():
        moved = {
            name: str(folder / BUNDLE) if value == found.bundle else value.replace(own, shared)
            for name, value in environ.items()
        } | {"CLOUDSDK_CONFIG": f"/tmp/gcloud-{account}"}  # noqa: S108 - of the other container
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in sorted(moved.items()))
        _write(folder / f"{account}.sh", "".join(lines).encode())


def _write(path: Path, data: bytes) -> None:
    """Write a file whole, so that nobody reads half of it."""
    draft = path.with_suffix(".new")
    draft.write_bytes(data)
    draft.chmod(0o644)
    draft.replace(path)
