"""What the user's environment says of other networks: credentials, proxies, certificates."""

from devenv.environment import adc_file, certificate_bundles, foreign_credentials, proxies
from devenv.stack.problems import Check


def credentials() -> Check:
    if names := foreign_credentials():
        return Check(
            "credentials",
            "warn",
            f"{', '.join(names)} may open a real Google Cloud; our services do not get it",
            f"unset {' '.join(names)}",
        )
    if (file := adc_file()).is_file():
        return Check("credentials", "ok", f"{file} is yours; only MODE=tunnel reads it")
    return Check("credentials", "ok", "none for a real cloud")


def proxy() -> Check:
    if names := proxies():
        return Check(
            "proxy",
            "warn",
            f"{names[0]} also sends requests for localhost to a proxy",
            "export no_proxy=localhost,127.0.0.1",
        )
    return Check("proxy", "ok", "localhost is reached directly")


def certificates() -> Check:
    """Programs that are told of a bundle that is not there trust nobody, and say so in riddles."""
    bundles = certificate_bundles()
    if lost := [name for name, path in bundles.items() if not path.is_file()]:
        return Check(
            "certificates",
            "fail",
            f"{lost[0]} names {bundles[lost[0]]}, which is no file",
            f"unset {' '.join(lost)}",
        )
    told = f"those of {', '.join(bundles)}" if bundles else "the system's own"
    return Check("certificates", "ok", told)
