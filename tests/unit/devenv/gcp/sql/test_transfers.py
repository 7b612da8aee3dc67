"""Files of imports: gzip is unpacked within bounds, and damage is told."""

import gzip

import pytest

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.sql import transfers


def test_several_members_of_gzip_are_one_file() -> None:
    assert transfers._unpacked(gzip.compress(b"a;") + gzip.compress(b"b;")) == b"a;b;"


@pytest.mark.parametrize("end", [b"\x1f\x8b\x08", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xff\xff"])
def test_damaged_gzip_is_refused(end: bytes) -> None:
    with pytest.raises(InvalidArgument, match="cannot be unpacked"):
        transfers._unpacked(end)


def test_gzip_that_grows_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "_MOST_UNPACKED", 1 << 20)
    packed = gzip.compress(bytes(2 << 20))

    with pytest.raises(InvalidArgument, match="more than 1 MiB"):
        transfers._unpacked(packed)
