"""Unit tests of the mailbox: order, bounds, durability."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from devenv.mail.mailbox import Mailbox


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with closing(Mailbox(most=3)) as box:
        yield box


def fill(box: Mailbox, *subjects: str) -> None:
    for subject in subjects:
        box.add(f"Subject: {subject}\n\n".encode(), sender="a@b.c", recipients=["x@y.z"])


def subjects(box: Mailbox, *, start: int = 0, limit: int = 50) -> list[str]:
    return [mail.message.header("Subject") for mail in box.newest(start=start, limit=limit)]


def test_newest_mail_is_listed_first(box: Mailbox) -> None:
    fill(box, "one", "two", "three")

    assert subjects(box) == ["three", "two", "one"]
    assert subjects(box, start=1, limit=1) == ["two"]


def test_full_mailbox_drops_oldest_mails(box: Mailbox) -> None:
    fill(box, "one", "two", "three", "four")

    assert subjects(box) == ["four", "three", "two"]


def test_latest_returns_newest_mail(box: Mailbox) -> None:
    assert box.get("latest") is None

    fill(box, "one", "two")

    latest = box.get("latest")
    assert latest
    assert latest.message.header("Subject") == "two"


def test_read_mail_is_not_counted_as_unread(box: Mailbox) -> None:
    fill(box, "one", "two")

    box.mark_read(box.newest()[0].id)

    assert box.counts() == (2, 1)


def test_delete_removes_named_mails_or_all(box: Mailbox) -> None:
    fill(box, "one", "two", "three")

    box.delete([box.newest()[0].id])
    assert subjects(box) == ["two", "one"]

    box.delete()
    assert box.counts() == (0, 0)


def test_mails_in_file_survive_restart(tmp_path: Path) -> None:
    with closing(Mailbox(tmp_path / "mail.sqlite")) as box:
        fill(box, "kept")

    with closing(Mailbox(tmp_path / "mail.sqlite")) as again:
        assert subjects(again) == ["kept"]
        assert again.newest()[0].recipients == ("x@y.z",)


def test_listeners_are_told_of_changes(box: Mailbox) -> None:
    changed = box.listen()

    box.add(b"", sender="", recipients=[])

    assert changed.is_set()
