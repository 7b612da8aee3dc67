"""A console over a folder of a stack that does not run, and a browser's requests to it."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx

from devenv.console.app import ConsoleConfig, build
from devenv.console.gate import proof
from devenv.stack import statefile
from devenv.stack.statefile import ServiceState, StackState

TOKEN = "the-token-of-the-link"
ORIGIN = "http://localhost:8090"


class ConsoleClient:
    """Sends requests as a browser does; `cookies` are those that it keeps."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self._app = build(ConsoleConfig(state=folder, token=TOKEN, **config))
        self.cookies = httpx.Cookies()

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(
                transport=transport, base_url=ORIGIN, cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **options)
                self.cookies = client.cookies
                return answer

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.send("GET", path, **options)

    def sign_in(self) -> None:
        self.get(f"/?token={TOKEN}")

    def post(self, path: str, data: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        """Post a form with the proof that the console's pages have."""
        return self.send(
            "POST", path, data={"csrf": proof(TOKEN, "form"), **(data or {})}, **options
        )

    def act(self, path: str, **data: str) -> str:
        """Post a form and return the notice of the page that follows."""
        answer = self.post(path, data)
        assert answer.status_code == 303, answer.text
        page = self.get(answer.headers["location"]).text
        found = re.search(r'<p class="message [^"]+" id="notice" [^>]*>(.*?)</p>', page, re.DOTALL)
        assert found, page
        return found[1]

    def close(self) -> None:
        """Close the connections to the emulated cloud."""
        self._app.state.cloud.close()


def write_state(folder: Path, **services: ServiceState) -> None:
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    state = StackState(
        phase="ready",
        mode="emulated",
        ports={"web": 8000},
        services=services,
        urls={"web": "http://localhost:8000"},
    )
    statefile.write(folder / "state.json", state)
