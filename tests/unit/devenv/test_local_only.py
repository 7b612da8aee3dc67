"""Checks of Host and Origin that keep pages of other sites away from servers on this machine."""

import pytest

from devenv.local_only import refusal


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8090", "sub.localhost:1", "127.0.0.1:65535", "127.1.2.3"),
        *("[::1]:8090", "[::ffff:127.0.0.1]"),
    ],
)
def test_local_host_passes(host: str) -> None:
    assert refusal({"host": host}) == ""


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8090", "localhost."),
        *(
            "127.1",
            "2130706433",
            "0x7f000001",
            "0.0.0.0:8090",
            "[::]",
            "[localhost]",
            "localhost, evil",
        ),
        *("evil@localhost", "localhost@evil", "localhost/evil", "localhost#evil", "localhost?evil"),
        *(
            "localhost:80.evil.example",
            "localhost:65536",
            "localhost:",
            "localhost:٣",
            "localhost\\evil",
        ),
    ],
)
def test_foreign_or_malformed_host_is_refused(host: str) -> None:
    assert refusal({"host": host}).startswith("The Host ")


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "file://", "https://evil.example", "http://localhost.evil.example:8025"),
        *("http://localhost:8025.evil.example", "http://evil@localhost:8025", "localhost"),
        *("http://localhost:8025/path", "chrome-extension://abcdef", "http://localhost evil"),
    ],
)
def test_foreign_or_malformed_origin_is_refused(origin: str) -> None:
    headers = {"host": "localhost:8025", "origin": origin}

    assert refusal(headers).startswith("The Origin ")


def test_named_host_passes_as_host_and_origin() -> None:
    headers = {"host": "mail:8025", "origin": "http://mail:8025"}

    assert refusal(headers, ["mail"]) == ""
    assert refusal(headers) != ""
