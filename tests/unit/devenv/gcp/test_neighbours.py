"""Ports and files for other containers, of an emulated cloud that is a container itself."""

import subprocess
from pathlib import Path

from devenv.gcp import neighbours
from devenv.gcp.intercept import endpoints
from devenv.gcp.intercept.endpoints import Endpoints


def test_reserved_ports_follow_the_order_of_accounts(tmp_path: Path) -> None:
    before = Endpoints(metadata={"web": 5000, "old": 4590, "made": 5001})
    before.write(tmp_path / "endpoints.json")

    neighbours.reserve(tmp_path, ("web", "worker"), first=4589)

    found = endpoints.read(tmp_path / "endpoints.json")
    assert endpoints.port_of(found.proxy) == 4589
    assert found.metadata == {"made": 5001, "web": 4590, "worker": 4591}


def test_announced_script_makes_a_shell_a_client(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("certificates")
    bundle, shared = str(tmp_path / "ca.pem"), tmp_path / "google"
    environ = {
        "SSL_CERT_FILE": bundle,
        "GOOGLE_CLOUD_PROJECT": "it's $HOME",
        "JAVA_TOOL_OPTIONS": f'-Dx="{tmp_path}/ca.p12"',
    }

    neighbours.announce(shared, Endpoints(bundle=bundle, environ={"web": environ}))

    script = '. "$0"; echo "$GOOGLE_CLOUD_PROJECT"; cat "$SSL_CERT_FILE"; echo "$JAVA_TOOL_OPTIONS"'
    command = ["sh", "-c", script, str(shared / "web.sh")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f'it\'s $HOME\ncertificates-Dx="{shared}/bundle.p12"\n'
    assert (shared / "web.sh").stat().st_mode & 0o777 == 0o644
