"""SMTP side of the mail catcher: plain SMTP, of bounded size.

A connection that begins to speak HTTP is closed: a web page can have a browser post lines of SMTP
to this port (cross-protocol scripting). Postfix refuses that in the same way; Mailpit does not.
"""

import asyncio

from aiosmtpd.smtp import SMTP, Envelope, Session

from devenv.mail.mailbox import Mailbox

MOST_BYTES = 10 * 1024 * 1024
MOST_RECIPIENTS = 200


class MailHandler:
    """Handler of aiosmtpd, whose method names these are."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        raw = envelope.content if isinstance(envelope.content, bytes) else b""
        name = self._mailbox.add(
            raw, sender=envelope.mail_from or "", recipients=[*envelope.rcpt_tos]
        )
        return f"250 2.0.0 Ok: queued as {name}"


class MailServer(SMTP):
    """SMTP protocol that closes the connection after an HTTP request line."""

    async def refuse_http(self, arg: str) -> None:
        await self.push("421 4.7.0 This port speaks SMTP, not HTTP")
        assert self._handler_coroutine
        self._handler_coroutine.cancel()
        assert self.transport
        self.transport.close()


_HTTP_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "PRI")
for _method in _HTTP_METHODS:  # aiosmtpd finds the handler of a command by its name
    setattr(MailServer, f"smtp_{_method}", MailServer.refuse_http)


async def serve(mailbox: Mailbox, *, host: str = "127.0.0.1", port: int) -> asyncio.Server:
    """Listen; port 0 takes any free port."""
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return MailServer(
            MailHandler(mailbox),
            data_size_limit=MOST_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="devenv mail catcher",
            loop=loop,
        )

    return await loop.create_server(protocol, host, port)
