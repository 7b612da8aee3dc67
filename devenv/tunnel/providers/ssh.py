"""`ssh -R` to a host of your own, whose web server ends TLS and leads a name to the port."""

import re
from pathlib import Path

from devenv.tunnel.providers.base import Provider, Sight

# OpenSSH writes this only when it is verbose, and there is no other sign.
_READY = re.compile(r"remote forward success for")
_CHATTER = ("debug1:", "debug2:", "OpenSSH_", "Authenticated to ", "Authenticating to ")
_TROUBLE = re.compile(
    r".*(?:remote port forwarding failed|Permission denied|Host key verification failed|"
    r"Could not resolve hostname|Connection (?:refused|closed|reset|timed out)|"
    r"Bad configuration|Broken pipe|not responding|No route to host|kex_exchange).*"
)


class Ssh(Provider):
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
            return Sight(ready=bool(_READY.search(line)))
        return Sight(trouble=line.strip() if _TROUBLE.match(line) else "")

    def worth_logging(self, line: str) -> bool:
        return not line.startswith(_CHATTER)


def _path(text: str) -> str:
    return str(Path(text).expanduser())
