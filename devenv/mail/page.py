"""The inbox in a browser: one page, and each mail's HTML in a box that it cannot leave."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from devenv.mail.mailbox import Mailbox

_PAGE = Path(__file__).with_name("page.html")
# No scripts, nothing loaded from elsewhere; links open in a tab of their own.
_BOX = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; "
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
)
_HEAD = '<base target="_blank"><style>body { margin: 1.5rem }</style>'


class Page:
    """The routes over one mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._html = _PAGE.read_text(encoding="utf-8")

    def routes(self) -> list[Route]:
        return [Route("/", self.inbox), Route("/view/{id}", self.view)]

    async def inbox(self, request: Request) -> Response:
        return HTMLResponse(self._html)

    async def view(self, request: Request) -> Response:
        mail = self._mailbox.get(request.path_params["id"])
        if not mail:
            return PlainTextResponse("message not found", status_code=404)
        return HTMLResponse(
            _HEAD + mail.message.html,
            headers={"Content-Security-Policy": _BOX, "X-Content-Type-Options": "nosniff"},
        )
