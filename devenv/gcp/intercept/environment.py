"""The environment variables that lead a process here, and give it an identity.

Every variable is there because some client reads only that one: gRPC only the lower-case proxy
names and its own roots, curl its own bundle, gcloud its own of both.
"""

from pathlib import PurePath

_BYPASS = "127.0.0.1,localhost,::1,.localhost,169.254.169.254,.google.internal"
_PROXIES = ("http_proxy", "https_proxy")
_BUNDLES = (
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "CURL_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)


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
        "GOOGLE_APPLICATION_CREDENTIALS": "",
        "GOOGLE_CLOUD_PROJECT": project,
    }
