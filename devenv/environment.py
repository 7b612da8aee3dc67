"""The environment of the user: the only place in the devenv that reads it."""

import os
import sys
from pathlib import Path

_FOREIGN = ("CLOUDSDK_", "DJANGO_", "GCE_METADATA_", "GOOGLE_", "GRPC_", "PG", "STORAGE_EMULATOR_")
_OTHERS = ("DJANGO_", "PG", "STORAGE_EMULATOR_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "ftp_proxy")


def machine() -> dict[str, str]:
    """Return the user's environment without what would lead our services elsewhere."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _PROXIES
    }
    return _with_our_programs(environ)


def developer() -> dict[str, str]:
    """Return the user's environment with what leads to the real cloud: credentials and proxies."""
    environ = {k: value for k, value in os.environ.items() if not k.startswith(_OTHERS)}
    return _with_our_programs(environ)


def _with_our_programs(environ: dict[str, str]) -> dict[str, str]:
    programs = Path(sys.executable).parent
    environ["PATH"] = f"{programs}{os.pathsep}{environ.get('PATH', os.defpath)}"
    return environ


def foreign_credentials() -> list[str]:
    """Name what is set in the user's environment and speaks to the real Google Cloud."""
    names = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_API_KEY", "CLOUDSDK_AUTH_ACCESS_TOKEN")
    return [name for name in names if os.environ.get(name)]


def adc_file() -> Path:
    """Return where gcloud leaves the developer's own credentials, there or not.

    https://cloud.google.com/docs/authentication/application-default-credentials
    """
    folder = os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud"
    return Path(folder) / "application_default_credentials.json"


def certificate_bundles() -> dict[str, Path]:
    """Return the CA bundles that the user's environment names."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return {name: Path(os.environ[name]) for name in names if os.environ.get(name)}


def proxies() -> list[str]:
    """Name the proxy variables of the user's environment that do not spare localhost."""
    spared = os.environ.get("no_proxy", "") + os.environ.get("NO_PROXY", "")
    if "localhost" in spared or spared.strip() == "*":
        return []
    return [name for name in ("http_proxy", "HTTP_PROXY") if os.environ.get(name)]


def wants_colour(*, terminal: bool) -> bool:
    """Obey NO_COLOR and FORCE_COLOR (no-color.org, force-color.org) and TERM=dumb."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return terminal and os.environ.get("TERM") != "dumb"


def wants_mock() -> bool:
    """Say whether MOCK_VALIDATORS asks for the mode without an emulated cloud."""
    return os.environ.get("MOCK_VALIDATORS", "").lower() in ("1", "true", "yes")


def wants_reload() -> bool:
    """Return whether services reload after edits: always, unless WATCH=0."""
    return os.environ.get("WATCH", "").lower() not in ("0", "false", "no")


def wants_debug() -> str:
    """Return what DEBUG says: `DEBUG=1 make up` shows tracebacks."""
    return os.environ.get("DEBUG", "0")


def wants_debuggers() -> tuple[str, ...]:
    """Return what DEBUGPY names: the processes that listen for a debugger."""
    names = os.environ.get("DEBUGPY", "").replace(",", " ").split()
    return tuple(dict.fromkeys(names))


def wants_jobs() -> str:
    """Return what JOBS asks validators to run in: a process unless told otherwise."""
    return os.environ.get("JOBS", "") or "process"
