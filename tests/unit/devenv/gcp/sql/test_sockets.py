"""First messages of PostgreSQL's clients at a socket of Cloud SQL."""

import struct

import pytest

from devenv.gcp.sql.server import local_name
from devenv.gcp.sql.sockets import renamed


def startup(*words: str) -> bytes:
    body = b"".join(word.encode() + b"\0" for word in words) + b"\0"
    return struct.pack("!II", len(body) + 8, 196608) + body


def test_user_and_database_get_names_of_their_instance() -> None:
    assert renamed(startup("user", "app", "database", "main", "x", "y"), "db") == startup(
        "user", "db/app", "database", "db/main", "x", "y"
    )


def test_database_without_name_is_that_of_the_user() -> None:
    assert renamed(startup("user", "app"), "db") == startup("user", "db/app", "database", "db/app")


def test_cancel_request_is_passed_on_unchanged() -> None:
    cancel = struct.pack("!IIII", 16, 80877102, 1, 2)

    assert renamed(cancel, "db") == cancel


def test_broken_message_is_refused() -> None:
    with pytest.raises(ValueError, match="first message"):
        renamed(struct.pack("!II", 12, 196608) + b"user", "db")


def test_long_names_are_shortened_and_stay_different() -> None:
    names = {local_name("db", "x" * 60 + end) for end in "ab"}

    assert len(names) == 2
    assert all(len(name) <= 63 and name.startswith("db/") for name in names)
