"""ngrok's agent, version 3: https://ngrok.com/docs/agent/cli. Its key is NGROK_AUTHTOKEN."""

import json
import re
from typing import Any

from devenv.tunnel.providers.base import Provider, Sight

_ORIGIN = re.compile(r"https://[a-z0-9.-]{1,253}(:\d{1,5})?")
_NONE = "<nil>"


class Ngrok(Provider):
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
        if event.get("msg") == "started tunnel" and _ORIGIN.fullmatch(url):
            return Sight(url=url, ready=True)
        if event.get("lvl") in ("eror", "crit"):  # codespell:ignore eror
            error = str(event.get("err", _NONE))
            told = str(event.get("msg", "")) if error == _NONE else error
            return Sight(trouble=told.replace("\r", "").replace("\n", " "))
        # What it says before it has a log: an unknown flag, a version that is too old.
        return Sight(trouble=line.strip()) if line.startswith("ERROR:") else Sight()


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}
