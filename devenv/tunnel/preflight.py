"""Before anything starts: this machine, its clock, Google's certificates, the developer's rights."""

import shutil
import time
from email.utils import parsedate_to_datetime

import requests

from devenv.stack.problems import Check
from devenv.tunnel import google
from devenv.tunnel.config import TunnelConfig
from devenv.tunnel.google import CallFailed, Google, Need
from devenv.tunnel.providers import make
from devenv.tunnel.tokens import CLOCK_SKEW_SECONDS

_PATIENCE = 10.0


def before(config: TunnelConfig, *, path: str) -> list[Check]:
    """Return what can be said without a tunnel; `path` is where programs are looked for."""
    checks = [program(config, path=path), clock()]
    try:
        cloud = Google()
    except CallFailed as error:
        fix = "gcloud auth application-default login"
        return [*checks, Check("credentials", "fail", str(error), fix)]
    checks.append(Check("credentials", "ok", f"Google knows you as {cloud.who}"))
    return [*checks, *(permission(cloud, need) for need in google.needs(config))]


def program(config: TunnelConfig, *, path: str) -> Check:
    provider = make(config)
    if found := shutil.which(provider.program, path=path):
        return Check("program", "ok", found)
    return Check("program", "fail", f"{provider.program} is not there", provider.install)


def clock() -> Check:
    """Compare our clock with Google's, from the Date of the certificates that tokens need."""
    try:
        began = time.time()
        answer = requests.get(google.CERTIFICATES, timeout=_PATIENCE)
        date = parsedate_to_datetime(answer.headers.get("Date", ""))
    except requests.RequestException as error:
        fix = "look at your network and proxy; without certificates no token can be verified"
        return Check(
            "clock", "fail", f"Google's certificates cannot be fetched: {google.brief(error)}", fix
        )
    except ValueError:
        return Check("clock", "warn", "Google's answer has no Date", "look at your proxy")
    # The Date is cut to the second, and as old as half the way there and back.
    middle = (began + time.time()) / 2
    return skewed(middle - (date.timestamp() + 0.5))


def skewed(seconds: float) -> Check:
    """Judge how far our clock is ahead of Google's."""
    said = f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} Google's"
    if abs(seconds) > CLOCK_SKEW_SECONDS:
        text = f"{said}; tokens are refused beyond {CLOCK_SKEW_SECONDS} s"
        return Check("clock", "fail", text, "set this machine's clock: sudo timedatectl set-ntp 1")
    if abs(seconds) > CLOCK_SKEW_SECONDS / 2:
        return Check("clock", "warn", said, "set this machine's clock: sudo timedatectl set-ntp 1")
    return Check("clock", "ok", said)


def permission(cloud: Google, need: Need) -> Check:
    """Ask Google which of the permissions we have."""
    name = f"rights on {need.resource}"
    try:
        held = cloud.send(need.call).get("permissions", [])
    except CallFailed as error:
        if error.status == 404:
            return Check(name, "fail", f"it is not there: {error}", _CREATE)
        return Check(name, "warn", f"could not be asked: {error}", need.fix)
    missing = [each for each in need.permissions if each not in held]
    if not missing:
        return Check(name, "ok", ", ".join(need.permissions))
    return Check(
        name, "warn" if need.optional else "fail", f"you lack {', '.join(missing)}", need.fix
    )


_CREATE = "create it (docs/modes/tunnel.md, Set up), or correct [tunnel]"
