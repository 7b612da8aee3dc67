"""Our ASGI handler: threads, deferred responses and probes."""

import io

from django.core.handlers.asgi import ASGIRequest

from validibot.core.asgi import ThreadedHandler

FORM = b'--x\r\nContent-Disposition: form-data; name="content"\r\n\r\nhello\r\n--x--\r\n'


def _request(headers: list[tuple[bytes, bytes]]) -> ASGIRequest:
    form = (b"content-type", b"multipart/form-data; boundary=x")
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [form, *headers]}
    request, error = ThreadedHandler().create_request(scope, io.BytesIO(FORM))
    assert error is None
    assert isinstance(request, ASGIRequest)
    return request


def test_a_form_that_is_sent_in_chunks_is_read() -> None:
    assert _request([]).POST["content"] == "hello"


def test_a_declared_length_stays() -> None:
    request = _request([(b"content-length", str(len(FORM)).encode())])

    assert request.META["CONTENT_LENGTH"] == str(len(FORM))
    assert request.POST["content"] == "hello"
