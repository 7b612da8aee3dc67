"""The door for mails: plain SMTP, of bounded size."""

import asyncio

from aiosmtpd.smtp import SMTP, Envelope, Session

from devenv.mail.mailbox import Mailbox

MOST_BYTES = 10 * 1024 * 1024
MOST_RECIPIENTS = 200


class Inlet:
    """What aiosmtpd calls; its method names are aiosmtpd's."""

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


async def serve(mailbox: Mailbox, *, host: str = "127.0.0.1", port: int) -> asyncio.Server:
    """Start to listen; port 0 takes any."""
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(
            Inlet(mailbox),
            data_size_limit=MOST_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="Validibot mail catcher",
            loop=loop,
        )

    return await loop.create_server(protocol, host, port)
