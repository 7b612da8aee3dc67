"""Files that are fetched from an address that an author chose."""

from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

import requests
from django.conf import settings
from requests_hardened.ip_filter import InvalidIPAddress

from validibot.core.echo import echo
from validibot.core.outbound import Deadline, open_session
from validibot.submissions.content import (
    CHUNK_BYTES,
    HEAD_BYTES,
    Incoming,
    default_filename,
    measure,
)
from validibot.submissions.intake import IntakeError, plain_name

FETCH_SECONDS = 120


class FetchFailed(Exception):
    """The file could not be fetched; the message says why."""


def fetch(url: str, metadata: dict[str, str]) -> Incoming:
    """Fetch a file of at most MAX_UPLOAD_BYTES, spooled to disk. Raises FetchFailed.

    Only public addresses are reached, and redirects are not followed (`validibot.core.outbound`).
    """
    session = open_session()
    deadline = Deadline(session, FETCH_SECONDS)
    with ExitStack() as held:
        content = cast("BinaryIO", held.enter_context(SpooledTemporaryFile(CHUNK_BYTES)))
        try:
            with session, deadline, session.get(url, stream=True) as answer:
                kind = _receive(answer, content)
        except InvalidIPAddress:
            raise FetchFailed(
                "The address leads into a private network. Use a public address."
            ) from None
        except requests.RequestException as error:
            if deadline.has_passed:
                text = f"The file was not received within {FETCH_SECONDS} s."
                raise FetchFailed(text) from error
            raise FetchFailed(f"The address cannot be reached: {type(error).__name__}.") from error
        size, sha256 = measure(content)
        if not size:
            raise FetchFailed("The file is empty.")
        name = _filename(url, kind, content)
        held.pop_all()  # the caller closes the file
        return Incoming(content, name, size, sha256, metadata=metadata)


def _receive(answer: requests.Response, content: BinaryIO) -> str:
    """Write the body of an answer; return its media type. Raises FetchFailed."""
    if answer.is_redirect:
        target = echo(answer.headers.get("Location", ""), most=200)
        raise FetchFailed(f"The address redirects to {target}. Use that address.")
    if answer.status_code != requests.codes.ok:
        raise FetchFailed(f"The address answered {answer.status_code}.")
    size = 0
    for chunk in answer.iter_content(CHUNK_BYTES):
        size += len(chunk)
        if size > settings.MAX_UPLOAD_BYTES:
            raise FetchFailed(f"The file is larger than {settings.MAX_UPLOAD_BYTES:,} bytes.")
        content.write(chunk)
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _filename(url: str, kind: str, content: BinaryIO) -> str:
    """Return the last part of the address if it is a file name, else one by the file's type."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    try:
        if "." in name:
            return plain_name(name)
    except IntakeError:
        pass
    head = content.read(HEAD_BYTES)
    content.seek(0)
    return default_filename(kind, head)
