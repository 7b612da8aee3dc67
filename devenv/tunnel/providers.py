"""The programs that make a tunnel, behind one interface: cloudflared, ngrok, ssh.

A provider is stateless: it knows the command line of its program, and what the lines that the
program writes say. `Tunnel` runs the program.
"""

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from devenv.tunnel.config import TunnelConfig


@dataclass(frozen=True, slots=True)
class Sight:
    """Meaning of a line of the program: the public origin, that traffic flows, or an error."""

    url: str = ""
    ready: bool = False
    trouble: str = ""


class Provider(ABC):
    """A tunnel program."""

    name: ClassVar[str]
    install: ClassVar[str]
    """How to install the program."""

    def __init__(self, config: TunnelConfig) -> None:
        self._config = config

    @property
    def program(self) -> str:
        return self.command(port=0)[0]

    @property
    def url(self) -> str:
        """The public origin if it is known before the program runs, else ""."""
        return self._config.url

    @abstractmethod
    def command(self, *, port: int) -> tuple[str, ...]:
        """Return the command line of a tunnel to `port` of the loopback interface."""

    @abstractmethod
    def read(self, line: str) -> Sight:
        """Return the meaning of a line of the program's output."""

    def worth_logging(self, line: str) -> bool:
        """Return whether the line belongs in the log."""
        return True


_CF_URL = re.compile(r"https://(?!api\.)[a-z0-9-]+\.trycloudflare\.com")
# The second is what versions before 2022.8 wrote.
_CF_READY = re.compile(r"Registered tunnel connection|Connection [0-9a-f-]{36} registered")
_CF_TROUBLE = re.compile(r"\b(?:ERR|FTL|error) (.+)")


class Cloudflared(Provider):
    """Cloudflare's `cloudflared`: quick tunnels without an account, and tunnels with a name.

    https://developers.cloudflare.com/cloudflare-one/networks/connectors/cloudflare-tunnel/
    """

    name = "cloudflared"
    install = "install cloudflared from https://github.com/cloudflare/cloudflared/releases"

    def command(self, *, port: int) -> tuple[str, ...]:
        """Return the command, with metrics at any free port: another cloudflared may use the usual one.

        A quick tunnel refuses to start beside a configuration file, so it is given an empty one. A
        tunnel by TUNNEL_TOKEN gets its ingress from Cloudflare's dashboard, not from here.
        """
        base = ("cloudflared", "tunnel", "--no-autoupdate", "--metrics", "127.0.0.1:0")
        leads_here = ("--url", f"http://127.0.0.1:{port}")
        if name := self._config.cloudflared.name:
            return (*base, *leads_here, "run", name)
        if self.url:
            return (*base, "run")
        return (*base, "--config", "/dev/null", *leads_here)

    def read(self, line: str) -> Sight:
        if not self.url and (found := _CF_URL.search(line)):
            return Sight(url=found[0])
        if _CF_READY.search(line):
            return Sight(ready=True)
        trouble = _CF_TROUBLE.search(line)
        return Sight(trouble=trouble[1]) if trouble else Sight()


_NG_ORIGIN = re.compile(r"https://[a-z0-9.-]{1,253}(:\d{1,5})?")
_NG_NONE = "<nil>"


class Ngrok(Provider):
    """ngrok's agent, version 3, whose key is NGROK_AUTHTOKEN (https://ngrok.com/docs/agent/cli)."""

    name = "ngrok"
    install = (
        "install ngrok from https://ngrok.com/download, then: ngrok config add-authtoken TOKEN"
    )

    def command(self, *, port: int) -> tuple[str, ...]:
        """Without inspection: bodies and tokens are not kept in another program's memory."""
        return (
            *("ngrok", "http", f"http://127.0.0.1:{port}", "--inspect=false"),
            *("--log", "stdout", "--log-format", "json"),
            *(("--url", self.url) if self.url else ()),
        )

    def read(self, line: str) -> Sight:
        event = _event(line)
        url = str(event.get("url", ""))
        if event.get("msg") == "started tunnel" and _NG_ORIGIN.fullmatch(url):
            return Sight(url=url, ready=True)
        if event.get("lvl") in ("eror", "crit"):  # codespell:ignore eror
            error = str(event.get("err", _NG_NONE))
            told = str(event.get("msg", "")) if error == _NG_NONE else error
            return Sight(trouble=told.replace("\r", "").replace("\n", " "))
        # Before it has a log it reports unknown flags, or that its version is too old.
        return Sight(trouble=line.strip()) if line.startswith("ERROR:") else Sight()


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


# OpenSSH writes this only when it is verbose, and there is no other sign.
_SSH_READY = re.compile(r"remote forward success for")
_SSH_CHATTER = ("debug1:", "debug2:", "OpenSSH_", "Authenticated to ", "Authenticating to ")
_SSH_TROUBLE = re.compile(
    r".*(?:remote port forwarding failed|Permission denied|Host key verification failed|"
    r"Could not resolve hostname|Connection (?:refused|closed|reset|timed out)|"
    r"Bad configuration|Broken pipe|not responding|No route to host|kex_exchange).*"
)


class Ssh(Provider):
    """`ssh -R` to a host of your own, whose web server ends TLS and forwards a name to the port."""

    name = "ssh"
    install = "sudo apt-get install openssh-client"

    def command(self, *, port: int) -> tuple[str, ...]:
        """Nothing is asked for: a password prompt nobody sees would wait for ever."""
        ssh = self._config.ssh
        return (
            *("ssh", "-v", "-N", "-T"),
            *(("-F", _path(ssh.config_file)) if ssh.config_file else ()),
            *("-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"),
            *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
            *("-o", "ConnectTimeout=10"),
            *(("-i", _path(ssh.identity_file)) if ssh.identity_file else ()),
            *("-p", str(ssh.ssh_port)),
            *("-R", f"127.0.0.1:{ssh.remote_port}:127.0.0.1:{port}"),
            *("--", ssh.destination),
        )

    def read(self, line: str) -> Sight:
        if line.startswith("debug"):
            return Sight(ready=bool(_SSH_READY.search(line)))
        return Sight(trouble=line.strip() if _SSH_TROUBLE.match(line) else "")

    def worth_logging(self, line: str) -> bool:
        return not line.startswith(_SSH_CHATTER)


def _path(text: str) -> str:
    return str(Path(text).expanduser())


_KINDS: tuple[type[Provider], ...] = (Cloudflared, Ngrok, Ssh)


def make(config: TunnelConfig) -> Provider:
    """Return the provider that the table names."""
    (kind,) = [kind for kind in _KINDS if kind.name == config.provider]
    return kind(config)
