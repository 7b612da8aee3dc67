"""The far side of a tunnel: a network namespace with an SSH server, a web server and the cloud.

Only one address of this machine's own network is reachable from it, as from another host.
"""

import datetime as dt
import ipaddress
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.checkout import ROOT, link_parts
from tests.waiting import until

DEVELOPER, OPERATOR = "developer", "operator"
WEB_PORT, SSH_PORT, REMOTE_PORT = 8443, 2222, 8080
_SSHD = """
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
ClientAliveInterval 2
"""
_RIGHTS = """
  {{ member = "{who}", role = "roles/cloudtasks.enqueuer", resource = "queue/runs" }},
  {{ member = "{who}", role = "roles/storage.objectUser", resource = "bucket/validibot-local" }},
  {{ member = "{who}", role = "roles/iam.serviceAccountUser", resource = "account/tasks" }},
  {{ member = "{who}", role = "roles/iam.serviceAccountOpenIdTokenCreator" }},
  {{ member = "{who}", role = "roles/iam.serviceAccountTokenCreator", resource = "account/capability" }},
  {{ member = "{who}", role = "roles/run.jobsExecutorWithOverrides" }},
  {{ member = "{who}", role = "roles/run.viewer" }},
  {{ member = "{operator}", role = "roles/cloudscheduler.admin" }},
"""


def is_possible() -> bool:
    """Return whether this machine and user can create a far side."""
    return os.geteuid() == 0 and all(shutil.which(name) for name in ("ip", "sshd", "ssh-keygen"))


@dataclass
class Far:
    """A running far side. `folder` is its disk, which the near side can read."""

    folder: Path
    name: str = field(default_factory=lambda: f"far-{secrets.token_hex(3)}")
    network: str = field(
        default_factory=lambda: f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
    )
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def address(self) -> str:
        return f"{self.network}.2"

    @property
    def url(self) -> str:
        """The public origin of the tunnel."""
        return f"https://{self.address}:{WEB_PORT}"

    @cached_property
    def environ(self) -> dict[str, str]:
        """The variables of a developer whose Google Cloud is the far one."""
        return self.environ_of(DEVELOPER)

    def environ_of(self, account: str) -> dict[str, str]:
        endpoints = json.loads((self.folder / "gcp" / "endpoints.json").read_text())
        found: dict[str, str] = endpoints["environ"][account]
        found = {name: text.replace("127.0.0.1", self.address) for name, text in found.items()}
        spared = f"127.0.0.1,{found['no_proxy']}"
        return found | {"no_proxy": spared, "NO_PROXY": spared}

    def run(self, what: str, *command: str, **variables: str) -> "subprocess.Popen[str]":
        """Start a program on the far side; it ends with it."""
        log = (self.folder / f"{what}.log").open("a")
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            cwd=self.folder,
            env=dict(os.environ) | variables,  # noqa: TID251 - a test hands it on
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )
        log.close()
        self.stack.callback(_end, process)
        return process


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        until(lambda: process.poll() is not None)
    except AssertionError:
        process.kill()
        process.wait()


@contextmanager
def far_side(folder: Path) -> Iterator[Far]:
    far = Far(folder)
    with far.stack:
        _wire(far)
        _certify(far)
        _open_ssh(far)
        _pipe(far, WEB_PORT, REMOTE_PORT, "web.pem", "web.key")
        _start_cloud(far)
        yield far


def _pipe(far: Far, port: int, to: int, *certificate: str) -> None:
    """Forward a port of the far address to the far loopback interface."""
    script, listen = str(ROOT / "tests/flows/pipe.py"), f"{far.address}:{port}"
    far.run("pipe", sys.executable, script, listen, f"127.0.0.1:{to}", *certificate)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _wire(far: Far) -> None:
    near = f"v{far.name}"
    _ip("netns", "add", far.name)
    far.stack.callback(_ip, "netns", "del", far.name)
    _ip("link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", far.name)
    _ip("address", "add", f"{far.network}.1/30", "dev", near)
    _ip("link", "set", near, "up")
    _ip("-n", far.name, "address", "add", f"{far.address}/30", "dev", "eth0")
    for device in ("lo", "eth0"):
        _ip("-n", far.name, "link", "set", device, "up")


def _certify(far: Far) -> None:
    """Make a certificate for the address, by an authority that both sides are told to trust."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)  # noqa: TID251
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "far web server")])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(far.address))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (far.folder / "web.pem").write_bytes(certificate.public_bytes(pem))
    (far.folder / "web.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _open_ssh(far: Far) -> None:
    for name in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(far.folder / name)]
        subprocess.run(command, check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    text = _SSHD.format(port=SSH_PORT, address=far.address, folder=far.folder)
    (far.folder / "sshd_config").write_text(text)
    known = (far.folder / "host_key.pub").read_text()
    (far.folder / "known_hosts").write_text(f"[{far.address}]:{SSH_PORT} {known}")
    (far.folder / "ssh_config").write_text(f"UserKnownHostsFile {far.folder}/known_hosts\n")
    far.run("sshd", str(shutil.which("sshd")), "-D", "-e", "-f", str(far.folder / "sshd_config"))


def _start_cloud(far: Far) -> None:
    link_parts(far.folder, ("validators", "devenv", "tests"))
    (far.folder / "devenv.toml").write_text(_cloud((ROOT / "devenv.toml").read_text(), far))
    far.run(
        "cloud",
        *(sys.executable, "-m", "devenv.gcp", "--config", "devenv.toml", "--data", "gcp"),
        *("--roots", "web.pem"),
        *("--container-host", far.address),  # the pipes keep this Host header
        SSL_CERT_FILE=str(far.folder / "web.pem"),
        PYTHONPATH=str(ROOT),
    )
    endpoints = far.folder / "gcp" / "endpoints.json"
    until(endpoints.exists)
    found = json.loads(endpoints.read_text())["environ"]
    ports = re.findall(r"127\.0\.0\.1:(\d+)", json.dumps([found[DEVELOPER], found[OPERATOR]]))
    for port in sorted(set(ports)):
        _pipe(far, int(port), int(port))


def _cloud(text: str, far: Far) -> str:
    """Return this checkout's devenv.toml with two more people, and with the tunnel's host allowed."""
    text = text.replace("{services.worker.url}", far.url).replace("{postgres.url}", "")
    text = text.replace("{secrets.custom_api_key}", "of nobody")
    text = text.replace("accounts = [", f'accounts = [ "{DEVELOPER}", "{OPERATOR}",', 1)
    rights = _RIGHTS.format(who=DEVELOPER, operator=OPERATOR)
    text = text.replace("bindings = [", f"bindings = [{rights}", 1)
    return text.replace("[gcp]\n", f'[gcp]\nallow_hosts = [ "{far.address}" ]\n', 1)
