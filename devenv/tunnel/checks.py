"""Checks of tunnel mode: of this machine before anything starts, and of an open tunnel.

`before` looks at the program, the clock, the certificates and the developer's permissions. `through`
goes through the public URL and back: name, TLS, a nonce, and tokens that must and must not pass.
"""

import base64
import json
import shutil
import socket
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from devenv.stack.problems import Check
from devenv.tunnel import google
from devenv.tunnel.config import TunnelConfig
from devenv.tunnel.doors import Echo
from devenv.tunnel.gate import CLOCK_SKEW_SECONDS
from devenv.tunnel.google import CallFailed, Google, Need
from devenv.tunnel.providers import make

_CLOCK_TIMEOUT = 10.0
_TIMEOUT = 15.0
_SOON = 7 * 86400
_PROVIDER = "look at the log of the tunnel program: make logs S=tunnel"


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
        answer = requests.get(google.CERTIFICATES, timeout=_CLOCK_TIMEOUT)
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


def through(config: TunnelConfig, origin: str, echo: Echo, path: str) -> list[Check]:
    """Return what can be said of an open tunnel, from its public end."""
    host, port = urlsplit(origin).hostname or "", urlsplit(origin).port or 443
    checks: list[Check] = []
    if requests.utils.should_bypass_proxies(origin, no_proxy=None) or not _proxy(origin):
        checks = [name(host, port), tls(host, port)]
    checks.append(round_trip(origin, echo))
    if any(check.result == "fail" for check in checks):
        return checks
    return [*checks, *foreign_tokens(config, origin, path), friend(config, origin, echo)]


def _proxy(origin: str) -> bool:
    """Return whether a proxy is in between, which then resolves the name itself."""
    return bool(requests.utils.get_environ_proxies(origin, no_proxy=None).get("https"))


def name(host: str, port: int) -> Check:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        fix = "a new name takes a while: try again; or correct tunnel.url"
        return Check("dns", "fail", f"{host} has no address: {error.strerror}", fix)
    return Check("dns", "ok", f"{host} is {found[0][4][0]}")


def tls(host: str, port: int) -> Check:
    """Shake hands as any client: chain and name are verified."""
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((host, port), timeout=_TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            certificate = secure.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        fix = f"give the web server of {host} a certificate that the public knows"
        return Check("tls", "fail", f"its certificate is not good: {error.verify_message}", fix)
    except OSError as error:
        return Check("tls", "fail", f"{host}:{port} does not speak TLS: {error}", _PROVIDER)
    ends = str(certificate.get("notAfter", ""))
    return expiry(ssl.cert_time_to_seconds(ends) - time.time(), ends)


def expiry(left: float, ends: str) -> Check:
    if left < _SOON:
        return Check("tls", "warn", f"the certificate ends on {ends}", "renew the certificate")
    return Check("tls", "ok", f"chain and name are good until {ends}")


def round_trip(origin: str, echo: Echo) -> Check:
    """Ask our own gate by the public URL for the answer to a nonce that only it knows."""
    question = echo.ask()
    began = time.monotonic()
    try:
        answer = requests.post(origin + question.path, data=b"", timeout=_TIMEOUT)
        told = _object(answer).get("answer")
    except requests.RequestException as error:
        return Check(
            "round trip", "fail", f"{origin} does not answer: {google.brief(error)}", _PROVIDER
        )
    if told != question.answer:
        text = f"{origin} answers {answer.status_code}, and not from our gate"
        return Check("round trip", "fail", text, "is another tunnel or server at this address?")
    took = (time.monotonic() - began) * 1000
    return Check("round trip", "ok", f"our nonce came back in {took:.0f} ms")


def foreign_tokens(config: TunnelConfig, origin: str, path: str) -> list[Check]:
    """Knock with tokens that nobody should accept: none, unsigned, not Google's, expired."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = _claims(config, origin)
    tokens = {
        "no token": "",
        "an unsigned token": _token(claims, None),
        "a foreign token": _token(claims, key),
        "an expired token": _token(claims | {"exp": int(time.time()) - 60}, key),
    }
    return [_refused(origin + path, what, token) for what, token in tokens.items()]


def friend(config: TunnelConfig, origin: str, echo: Echo) -> Check:
    """Let Google make a real token for the queue's account, and show it to the gate."""
    try:
        answer = Google().send(google.id_token(config.tasks_account, origin))
    except CallFailed as error:
        fix = google.needs(config)[-1].fix
        text = f"not tried: no ID token of {config.tasks_account} for you: {error}"
        return Check("token", "warn", text, fix)
    try:
        sent = requests.post(
            origin + echo.ask().path, headers=_bearer(str(answer.get("token"))), timeout=_TIMEOUT
        )
    except requests.RequestException as error:
        return Check("token", "fail", f"{origin} does not answer: {google.brief(error)}", _PROVIDER)
    told = _object(sent)
    if told.get("caller") == config.tasks_account:
        return Check("token", "ok", f"Google's token of {config.tasks_account} is accepted")
    text = f"a real token is refused: {told.get('refusal') or sent.status_code}"
    return Check("token", "fail", text, "set this machine's clock, then make up MODE=tunnel again")


def _refused(url: str, what: str, token: str) -> Check:
    headers = _bearer(token) if token else {}
    try:
        answer = requests.post(url, data=b"{}", headers=headers, timeout=_TIMEOUT)
    except requests.RequestException as error:
        return Check(what, "fail", f"{url} does not answer: {google.brief(error)}", _PROVIDER)
    if answer.status_code == 401:
        return Check(what, "ok", "is refused")
    text = f"is answered {answer.status_code} instead of 401"
    return Check(what, "fail", text, "stop the tunnel at once: make down")


def _claims(config: TunnelConfig, origin: str) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": "https://accounts.google.com",
        "aud": origin,
        "sub": "1" * 21,
        "email": config.tasks_account,
        "email_verified": True,
        "iat": now - 10,
        "exp": now + 3600,
    }


def _token(claims: Mapping[str, Any], key: rsa.RSAPrivateKey | None) -> str:
    header = {"alg": "RS256" if key else "none", "typ": "JWT", "kid": "1" * 40}
    signed = b".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
    signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256()) if key else b""
    return (signed + b"." + _b64(signature)).decode()


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _object(answer: requests.Response) -> dict[str, Any]:
    try:
        data = answer.json()
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
