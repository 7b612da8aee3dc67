"""The user's environment; no other module of the devenv reads it."""

import os
import sys
from pathlib import Path

_FOREIGN = ("CLOUDSDK_", "GCE_METADATA_", "GOOGLE_", "GRPC_", "PG", "STORAGE_EMULATOR_")
_OTHERS = ("PG", "STORAGE_EMULATOR_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "grpc_proxy", "ftp_proxy")


def machine(hidden: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the user's environment without variables that would redirect our services.

    `hidden` are beginnings of further names.
    """
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((*_FOREIGN, *hidden)) and name.lower() not in _PROXIES
    }
    return _with_our_programs(environ)


def developer(hidden: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the user's environment including credentials and proxies for the real cloud."""
    left_out = (*_OTHERS, *hidden)
    environ = {k: value for k, value in os.environ.items() if not k.startswith(left_out)}
    return _with_our_programs(environ)


def _with_our_programs(environ: dict[str, str]) -> dict[str, str]:
    programs = Path(sys.executable).parent
    environ["PATH"] = f"{programs}{os.pathsep}{environ.get('PATH', os.defpath)}"
    if environ.pop("PYTHONDONTWRITEBYTECODE", "") and os.access(sys.prefix, os.W_OK):
        # Without bytecode each start and reload compiles every module anew, which takes three times
        # as long. Who wants none beside the sources gets it beside the packages; where nothing can
        # be written, as in an image, that which the packages have is read.
        environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(sys.prefix) / "pycache"))
    return environ


def login_shell() -> str:
    """Return the user's shell."""
    return os.environ.get("SHELL", "") or "/bin/sh"


def foreign_credentials() -> list[str]:
    """Return the variables that are set and give access to the real Google Cloud."""
    names = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_API_KEY", "CLOUDSDK_AUTH_ACCESS_TOKEN")
    return [name for name in names if os.environ.get(name)]


def adc_file() -> Path:
    """Return where gcloud stores the developer's credentials, whether or not the file exists.

    https://cloud.google.com/docs/authentication/application-default-credentials
    """
    folder = os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud"
    return Path(folder) / "application_default_credentials.json"


def certificate_bundles() -> dict[str, Path]:
    """Return the CA bundles that the user's environment names."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return {name: Path(os.environ[name]) for name in names if os.environ.get(name)}


def proxies() -> list[str]:
    """Return the proxy variables that are set and do not exclude localhost."""
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


def is_switched_on(variable: str) -> bool:
    """Return whether a variable of the shell is 1, true or yes."""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")


def wants_reload() -> bool:
    """Return whether services reload after edits: always, unless WATCH=0."""
    return os.environ.get("WATCH", "").lower() not in ("0", "false", "no")


def wants_debuggers() -> tuple[str, ...]:
    """Return the processes of DEBUGPY, which listen for a debugger."""
    names = os.environ.get("DEBUGPY", "").replace(",", " ").split()
    return tuple(dict.fromkeys(names))
