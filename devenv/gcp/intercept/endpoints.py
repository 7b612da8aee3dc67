"""The addresses of the emulated cloud, and the environment variables that lead processes to them.

The ports are kept in `endpoints.json`, so that a restart listens where clients expect it. A process
becomes a client by environment variables alone: the proxy, the CA bundle, the metadata server of
its account, an empty folder for gcloud. Every variable is there because some client reads only that
one: gRPC reads the lower-case proxy names and its own roots, curl its own bundle, gcloud its own
names of both.
"""

import errno
import json
import logging
import random
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath

from devenv.gcp.errors import Unavailable
from devenv.gcp.java import tool_options

log = logging.getLogger(__name__)
_BACKLOG = 1024
# Kernels give none of these to the connections and servers of others, so that they are free after a restart.
_KEPT, _TRIES = range(10_000, 20_000), 20
_CHANCE = random.SystemRandom()
_BYPASS = "127.0.0.1,localhost,::1,.localhost,169.254.169.254,.google.internal"
_PROXIES = ("http_proxy", "https_proxy")
_BUNDLES = (
    "AWS_CA_BUNDLE",  # of boto3, which works with HMAC keys
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "CURL_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",  # of google-api-python-client
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses for other programs; `environ` and `metadata` are by short account name.

    `jobs` are the ports that only the containers of jobs reach.
    """

    pid: int = 0
    plain: str = ""
    proxy: str = ""
    bundle: str = ""
    metadata: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)
    environ: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the file whole, so that nobody reads half of it."""
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(path)


def read(path: Path) -> Endpoints:
    """Return what was written there last; nothing if there is no such file, or it is broken."""
    try:
        return Endpoints(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Endpoints()


def environ(
    *, project: str, proxy: str, bundle: PurePath, metadata: str, gcloud: PurePath
) -> dict[str, str]:
    """Return all variables for one identity.

    `metadata` is its HOST:PORT, `gcloud` an empty folder: credentials of the developer's own in
    gcloud's folder, or named by GOOGLE_APPLICATION_CREDENTIALS, would win over the metadata server.
    """
    values = dict.fromkeys(_PROXIES, proxy)
    host = metadata.partition(":")[0]
    bypass = _BYPASS if host in _BYPASS.split(",") else f"{_BYPASS},{host}"
    values |= {"grpc_proxy": proxy, "no_proxy": bypass}
    values |= {name.upper(): value for name, value in values.items() if name != "grpc_proxy"}
    values |= {name: str(bundle) for name in _BUNDLES}
    values |= {f"GCE_METADATA_{name}": metadata for name in ("HOST", "IP", "ROOT")}
    return values | {
        "CLOUDSDK_CONFIG": str(gcloud),
        # Python's storage client else asks for each bucket's metadata, for its telemetry alone.
        "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
        # gcsfs, with which pandas reads gs:// too, else reads no variable of a proxy.
        "FSSPEC_GCS": '{"session_kwargs": {"trust_env": true}}',
        "GOOGLE_APPLICATION_CREDENTIALS": "",
        "GOOGLE_CLOUD_PROJECT": project,
        "JAVA_TOOL_OPTIONS": tool_options(proxy=proxy, bypass=bypass, bundle=bundle),
        # Node's own fetch() and https, from version 22.21 and 24.5 on, else read no variable of a proxy.
        "NODE_USE_ENV_PROXY": "1",
    }


def port(listening: socket.socket) -> int:
    """Return the port that a socket listens on."""
    return int(listening.getsockname()[1])


def port_of(address: str) -> int:
    """Return the port of an URL; 0 without one."""
    return int(address.rpartition(":")[2] or 0)


def listen(address: str, wanted: int) -> socket.socket:
    """Return a listening socket, on another port if the wanted one is taken. Raises Unavailable."""
    # asyncio turns Nagle's delay off only for sockets that say that they are TCP.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        _bind(listening, address, wanted)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            listening.close()
            raise Unavailable(
                f"{address} is not an address of this machine: the container engine runs on another "
                "one, or in a virtual one. Run the emulated cloud there too: "
                "docker compose -f docker-compose.local.yml up"
            ) from error
        log.warning("Port %d is taken; another one is used.", wanted)
        _bind(listening, address, 0)
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening


def _bind(listening: socket.socket, address: str, wanted: int) -> None:
    """Bind to a port; to one that other programs seldom get if none is wanted."""
    choices = [wanted] if wanted else [*_CHANCE.sample(_KEPT, _TRIES), 0]
    for each in choices:
        try:
            listening.bind((address, each))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or each == choices[-1]:
                raise
        else:
            return
