"""Cloudflare's `cloudflared`: quick tunnels without an account, and tunnels with a name.

https://developers.cloudflare.com/cloudflare-one/networks/connectors/cloudflare-tunnel/
"""

import re

from devenv.tunnel.providers.base import Provider, Sight

_URL = re.compile(r"https://(?!api\.)[a-z0-9-]+\.trycloudflare\.com")
# The second is what versions before 2022.8 wrote.
_READY = re.compile(r"Registered tunnel connection|Connection [0-9a-f-]{36} registered")
_TROUBLE = re.compile(r"\b(?:ERR|FTL|error) (.+)")


class Cloudflared(Provider):
    name = "cloudflared"
    install = "install cloudflared from https://github.com/cloudflare/cloudflared/releases"

    def command(self, *, port: int) -> tuple[str, ...]:
        """The metrics go to any free port: the usual one may belong to another cloudflared.

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
        if not self.url and (found := _URL.search(line)):
            return Sight(url=found[0])
        if _READY.search(line):
            return Sight(ready=True)
        trouble = _TROUBLE.search(line)
        return Sight(trouble=trouble[1]) if trouble else Sight()
