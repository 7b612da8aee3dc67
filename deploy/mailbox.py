"""Mailboxes in which `verify` looks for the mail of the stage.

A mailbox is read by IMAP with TLS (RFC 9051), or by the HTTP API of a mail catcher such as Mailpit
(https://mailpit.axllent.org/docs/api-v1/), which that of `make up` speaks, too.
"""

import email
import email.policy
import imaplib
from abc import ABC, abstractmethod
from urllib.parse import SplitResult, unquote, urlsplit

import requests

from deploy.errors import DeployError

_SECONDS = 30.0
_IMAP_PORT = 993


class VerifyMailbox(ABC):
    """A mailbox that receives mail for any address that `address` returns."""

    @abstractmethod
    def address(self, word: str) -> str:
        """Return an address of this mailbox that has `word` in it."""

    @abstractmethod
    def text_to(self, address: str) -> str | None:
        """Return the text of the newest mail to an address, or None. Raises DeployError."""


class HttpMailbox(VerifyMailbox):
    """A mail catcher, to which the stage sends by SMTP; it takes mail for every address."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def address(self, word: str) -> str:
        return f"verify-{word}@example.org"

    def text_to(self, address: str) -> str | None:
        try:
            listed = requests.get(f"{self._url}/api/v1/messages", timeout=_SECONDS)
            listed.raise_for_status()
            for message in listed.json()["messages"]:
                if any(to["Address"] == address for to in message["To"]):
                    url = f"{self._url}/api/v1/message/{message['ID']}"
                    return str(requests.get(url, timeout=_SECONDS).json()["Text"])
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise DeployError(
                f"The mail catcher at {self._url} cannot be read ({type(error).__name__}). Give the address of"
                " its HTTP API with --mailbox."
            ) from None
        return None


class ImapMailbox(VerifyMailbox):
    """The inbox of an account at a provider, which must accept addresses with a plus (RFC 5233)."""

    def __init__(self, parts: SplitResult) -> None:
        self._user = unquote(parts.username or "")
        self._host = parts.hostname or ""
        self._port = parts.port or _IMAP_PORT
        self._password = unquote(parts.password or "")
        if "@" not in self._user or not self._host or not self._password:
            raise DeployError(
                "A mailbox at imaps:// needs a user with its domain, a password and a host:"
                " VALIDIBOT_MAILBOX=imaps://checks%40example.org:PASSWORD@imap.example.org"
            )

    def address(self, word: str) -> str:
        name, _, domain = self._user.rpartition("@")
        return f"{name}+verify-{word}@{domain}"

    def text_to(self, address: str) -> str | None:
        try:
            with imaplib.IMAP4_SSL(self._host, self._port, timeout=_SECONDS) as inbox:
                inbox.login(self._user, self._password)
                inbox.select("INBOX", readonly=True)
                _, found = inbox.search(None, "TO", f'"{address}"')
                numbers = found[0].split() if found and found[0] else []
                if not numbers:
                    return None
                _, fetched = inbox.fetch(numbers[-1].decode(), "(RFC822)")
        except (imaplib.IMAP4.error, OSError) as error:
            raise DeployError(f"The mailbox at {self._host} cannot be read: {error}") from None
        raw = next(part[1] for part in fetched if isinstance(part, tuple))
        body = email.message_from_bytes(raw, policy=email.policy.default).get_body(("plain",))
        return str(body.get_content()) if body else ""


def mailbox_of(url: str) -> VerifyMailbox:
    """Return the mailbox at `http(s)://HOST` or `imaps://USER:PASSWORD@HOST`. Raises DeployError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text may have a part of the password
        raise DeployError(
            "--mailbox has no valid host and port. In a user and a password write / as %2F and @ as %40."
        ) from None
    if parts.scheme in ("http", "https") and parts.hostname:
        return HttpMailbox(url)
    if parts.scheme == "imaps":
        return ImapMailbox(parts)
    raise DeployError(
        f"--mailbox has the scheme {parts.scheme!r:.20}; it must be http://HOST:PORT (a mail catcher) or"
        " imaps://USER:PASSWORD@HOST."
    )
