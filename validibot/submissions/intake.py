"""Intake of a launch request: a form, a JSON envelope, or the file as the raw body.

A body is an envelope if and only if all of this holds:

- its content type is `application/json`, and it has no `X-Filename`;
- it is a JSON object with the member `content`;
- every other member is one of `ENVELOPE_FIELDS`.

Files that the first one refers to are sent as parts `files` of a form, or as the member `files` of an
envelope: objects with `filename`, `content` and perhaps `content_encoding`.

Any other body is the file itself, with one exception: a body of type `application/json` that is not
JSON and could be the beginning of an envelope is refused, because a client was cut off while it sent
one. The content type of a part of a form is never a reason to refuse: clients guess it from their
operating system.
"""

import base64
import binascii
import io
import json
import re
from collections import Counter
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParserError

from validibot.core.echo import echo, shortened
from validibot.submissions.content import (
    CHUNK_BYTES,
    HEAD_BYTES,
    Incoming,
    IncomingFile,
    default_filename,
    is_exact_type,
    measure,
)
from validibot.submissions.models import BIDI_CONTROLS

ENVELOPE_FIELDS = frozenset(
    {
        "content",
        "content_encoding",
        "content_type",
        "filename",
        "files",
        "metadata",
        "name",
        "scenario",
        "short_description",
        "weather",
    }
)
MAX_FURTHER_FILES = 20
# A validator stores the file under this name, so it must fit into a folder.
MAX_NAME_BYTES = 200
# At most 10 MB of content, which base64 makes a third longer, and the other fields.
_ENVELOPE_BYTES = 14 * 1024 * 1024
# The start of a JSON object whose first member is, or may become, one of an envelope.
_ENVELOPE_START = re.compile(
    r'\s*\{\s*(?:$|"(?:' + "|".join(sorted(ENVELOPE_FIELDS)) + r')"|"[a-z_]*$)'
)


class IntakeError(Exception):
    """The request cannot be accepted; `status` is the HTTP status of the answer."""

    def __init__(self, code: str, message: str, *, field: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.status = status


def receive(request: HttpRequest) -> Incoming:
    """Read the request's body, bounded and spooled to disk. Raises IntakeError."""
    try:
        if request.content_type == "multipart/form-data":
            incoming = _multipart(request)
        else:
            incoming = _body(request)
    except RequestDataTooBig as error:
        raise _too_large() from error
    except (MultiPartParserError, UnreadablePostError, SuspiciousOperation) as error:
        raise IntakeError("INVALID_PAYLOAD", f"The request body cannot be read: {error}") from error
    try:
        _check_files(incoming)
    except IntakeError:
        incoming.__exit__()
        raise
    return incoming


def declared_name(request: HttpRequest) -> str:
    """Return the name that the headers give to a file sent as the body, or "" if they give none.

    A form has the names in its parts, and a body of type `application/json` without a name may be an
    envelope.
    """
    if request.content_type == "multipart/form-data":
        return ""
    if name := request.headers.get("X-Filename", ""):
        return _header_text(name)
    declared = request.content_type or ""
    is_telling = declared != "application/json" and is_exact_type(declared)
    return default_filename(declared, b"") if is_telling else ""


def _check_files(incoming: Incoming) -> None:
    """Check what only all files together show. Raises IntakeError."""
    files = (incoming, *incoming.further)
    for file in files:
        if not file.size_bytes:
            field = "file" if file is incoming else "files"
            raise IntakeError(
                "EMPTY_FILE",
                f"{shortened(file.filename)} is empty. Send a file with content.",
                field=field,
            )
    if len(incoming.further) > MAX_FURTHER_FILES:
        raise IntakeError(
            "TOO_MANY_FILES",
            f"{len(incoming.further)} further files were sent; at most {MAX_FURTHER_FILES} are taken.",
            field="files",
        )
    names = Counter(file.filename.casefold() for file in files)
    if twice := next((file for file in files if names[file.filename.casefold()] > 1), None):
        raise IntakeError(
            "INVALID_PAYLOAD",
            f"Two files are called {echo(twice.filename)}. Give each file a name of its own; capital"
            " letters do not tell them apart.",
            field="files",
        )
    if sum(file.size_bytes for file in files) > settings.MAX_UPLOAD_BYTES:
        raise _too_large("files")


def _multipart(request: HttpRequest) -> Incoming:
    files, more = request.FILES.getlist("file"), request.FILES.getlist("files")
    further = tuple(_file(cast("BinaryIO", each.file), each.name or "") for each in more)
    fields = _headers(request) | {name: request.POST.get(name, "") for name in request.POST}
    if len(files) > 1 or (files and fields.get("content")):
        raise IntakeError(
            "INVALID_PAYLOAD", "Send exactly one file, as `file` or as `content`.", field="file"
        )
    if files:
        name = fields.get("filename") or files[0].name or ""
        return _incoming(cast("BinaryIO", files[0].file), name, fields, further)
    if "content" in fields:
        return _inline(fields, further)
    raise IntakeError("NO_FILE", "No file was sent. Send it in the part `file`.", field="file")


def _body(request: HttpRequest) -> Incoming:
    fields = _headers(request)
    with ExitStack() as held:
        content = cast("BinaryIO", held.enter_context(SpooledTemporaryFile(CHUNK_BYTES)))
        _spool(request, content)
        envelope = _envelope(request, content)
        if envelope is not None:
            return _inline(fields | envelope, _envelope_files(envelope))
        if request.headers.get("Content-Encoding") == "base64":
            decoded = io.BytesIO(_decode(content.read(), "Content-Encoding"))
            return _incoming(decoded, _body_name(request, decoded), fields)
        incoming = _incoming(content, _body_name(request, content), fields)
        held.pop_all()  # the caller closes the file
        return incoming


def _headers(request: HttpRequest) -> dict[str, Any]:
    """Return the fields that are sent as headers, for which a raw body has no place."""
    return {
        name: request.headers.get(f"X-Validibot-{name.title()}", "")
        for name in ("scenario", "weather")
    }


def _body_name(request: HttpRequest, content: BinaryIO) -> str:
    if name := request.headers.get("X-Filename", ""):
        return _header_text(name)
    head = content.read(HEAD_BYTES)
    content.seek(0)
    return default_filename(request.content_type or "", head)


def _header_text(value: str) -> str:
    """Return a header's text as UTF-8: Django decodes the bytes of headers as Latin-1."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return value


def _spool(request: HttpRequest, content: BinaryIO) -> None:
    size = 0
    while chunk := request.read(CHUNK_BYTES):
        size += len(chunk)
        if size > settings.MAX_UPLOAD_BYTES:
            raise _too_large()
        content.write(chunk)
    content.seek(0)


def _envelope(request: HttpRequest, content: BinaryIO) -> dict[str, Any] | None:
    """Return the JSON envelope in `content`, or None when the body is the file itself."""
    if request.content_type != "application/json" or request.headers.get("X-Filename"):
        return None
    text = content.read(_ENVELOPE_BYTES + 1)
    content.seek(0)
    if len(text) > _ENVELOPE_BYTES:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _ENVELOPE_START.match(text[:100].decode("utf-8", "replace")):
            raise IntakeError(
                "INVALID_PAYLOAD",
                f"The body begins like a JSON envelope but is not JSON: {str(error)[:200]}. "
                "Send it completely, or send the file itself with the header X-Filename.",
                field="body",
            ) from error
        return None  # the workflow's own validator reports the error
    if not isinstance(document, dict) or "content" not in document:
        return None
    return document if document.keys() <= ENVELOPE_FIELDS else None


def _envelope_files(envelope: dict[str, Any]) -> tuple[IncomingFile, ...]:
    """Return the further files of an envelope. Raises IntakeError."""
    listed = envelope.get("files") or []
    allowed = {"filename", "content", "content_encoding"}
    is_list = isinstance(listed, list) and all(isinstance(each, dict) for each in listed)
    if not is_list or not all({"filename", "content"} <= each.keys() <= allowed for each in listed):
        raise IntakeError(
            "INVALID_PAYLOAD",
            "`files` must be a list of objects with `filename`, `content` and, for base64,"
            " `content_encoding`.",
            field="files",
        )
    return tuple(
        _file(io.BytesIO(_content(each, "files")), _text(each, "filename")) for each in listed
    )


def _content(fields: dict[str, Any], field: str) -> bytes:
    """Return the bytes of the members `content` and `content_encoding`. Raises IntakeError."""
    content = fields["content"]
    if not isinstance(content, str):
        raise IntakeError("INVALID_PAYLOAD", "`content` must be a string.", field=field)
    encoding = _text(fields, "content_encoding")
    if encoding not in ("", "base64"):
        raise IntakeError(
            "INVALID_PAYLOAD",
            f"`content_encoding` is {echo(encoding)}; only base64 is supported.",
            field="content_encoding",
        )
    try:
        return _decode(content.encode(), "content") if encoding else content.encode()
    except UnicodeEncodeError as error:
        raise IntakeError(
            "INVALID_PAYLOAD", "`content` contains half of a surrogate pair.", field=field
        ) from error


def _inline(fields: dict[str, Any], further: tuple[IncomingFile, ...]) -> Incoming:
    raw = _content(fields, "content")
    if len(raw) + sum(file.size_bytes for file in further) > settings.MAX_INLINE_BYTES:
        raise _too_large()
    declared = _text(fields, "content_type")
    head = raw[:HEAD_BYTES]
    name = _text(fields, "filename") or default_filename(declared, head)
    return _incoming(io.BytesIO(raw), name, fields, further)


def _file(content: BinaryIO, filename: str) -> IncomingFile:
    name = plain_name(filename)
    if len(name.encode()) > MAX_NAME_BYTES:
        raise IntakeError(
            "INVALID_PAYLOAD",
            f"The file name {echo(name)} has more than {MAX_NAME_BYTES} bytes. Send a shorter one.",
            field="files",
        )
    return IncomingFile(content, name, *measure(content))


def _incoming(
    content: BinaryIO,
    filename: str,
    fields: dict[str, Any],
    further: tuple[IncomingFile, ...] = (),
) -> Incoming:
    size, sha256 = measure(content)
    if size > settings.MAX_UPLOAD_BYTES:
        raise _too_large()
    return Incoming(
        content=content,
        filename=plain_name(filename),
        size_bytes=size,
        sha256=sha256,
        name=_text(fields, "name"),
        metadata=read_metadata(fields.get("metadata")),
        short_description=_text(fields, "short_description"),
        scenario=_text(fields, "scenario"),
        weather=_text(fields, "weather"),
        further=further,
    )


def plain_name(filename: str) -> str:
    """Return the last part of a file name. Raises IntakeError unless it is a plain name."""
    name = filename.replace("\\", "/").rpartition("/")[2].strip()
    fault = text_fault(name, 255)
    if name in ("", ".", ".."):
        fault = "is not a name"
    elif found := BIDI_CONTROLS.search(name):
        fault = f"contains the control character U+{ord(found[0]):04X}"
    if fault:
        raise IntakeError(
            "INVALID_PAYLOAD",
            f"The file name {echo(filename)} {fault}. Send a plain name such as model.idf.",
            field="filename",
        )
    return name


def _text(fields: dict[str, Any], field: str) -> str:
    value = fields.get(field, "")
    if value is None:
        return ""
    if fault := text_fault(value, 255):
        raise IntakeError("INVALID_PAYLOAD", f"`{field}` {fault}.", field=field)
    return str(value)


def read_metadata(value: Any) -> dict[str, str]:
    """Return the metadata of a launch, an object of short texts or its JSON. Raises IntakeError."""
    if value in (None, ""):
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise IntakeError(
                "INVALID_PAYLOAD", "`metadata` is not valid JSON.", field="metadata"
            ) from error
    if not isinstance(value, dict) or len(value) > 100:
        raise IntakeError(
            "INVALID_PAYLOAD",
            "`metadata` must be a JSON object of at most 100 short strings.",
            field="metadata",
        )
    for key, text in value.items():
        for owner, each, length in (("the key", key, 255), ("the value", text, 2000)):
            if fault := text_fault(each, length):
                raise IntakeError(
                    "INVALID_PAYLOAD",
                    f"`metadata`: {owner} of the entry {echo(key)} {fault}.",
                    field="metadata",
                )
    return value


def text_fault(value: Any, length: int) -> str:
    """Return why PostgreSQL or we cannot store a text, as the end of a sentence, or nothing."""
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    if len(value) > length:
        return f"has more than {length:,} characters"
    if "\x00" in value:
        return "contains the control character U+0000"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "contains half of a surrogate pair"
    return ""


def _decode(text: bytes, field: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise IntakeError(
            "INVALID_PAYLOAD", f"`{field}` is not valid base64: {error}.", field=field
        ) from error


def _too_large(field: str = "file") -> IntakeError:
    limit = settings.MAX_UPLOAD_BYTES
    subject = "The file is" if field == "file" else "The files together are"
    return IntakeError(
        "PAYLOAD_TOO_LARGE",
        f"{subject} larger than {limit:,} bytes. Send less.",
        field=field,
        status=413,
    )
