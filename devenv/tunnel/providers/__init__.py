"""The programs that make a tunnel, behind one interface."""

from devenv.tunnel.config import TunnelConfig
from devenv.tunnel.providers.base import Provider, Sight
from devenv.tunnel.providers.cloudflared import Cloudflared
from devenv.tunnel.providers.ngrok import Ngrok
from devenv.tunnel.providers.ssh import Ssh

__all__ = ["Provider", "Sight", "make"]

_KINDS: tuple[type[Provider], ...] = (Cloudflared, Ngrok, Ssh)


def make(config: TunnelConfig) -> Provider:
    """Return what runs the tunnel that the table asks for."""
    (kind,) = [kind for kind in _KINDS if kind.name == config.provider]
    return kind(config)
