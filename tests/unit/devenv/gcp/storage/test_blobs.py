"""The bytes of objects: few in rows, many in files."""

import tracemalloc
from pathlib import Path

import pytest

from devenv.gcp.storage.blobs import Blobs
from tests.unit.devenv.gcp.fakes import MemoryStore
from tests.unit.devenv.gcp.storage.cloud import BUCKET, StorageCloud, path

LARGEST_ROW = 16 * 1024


def rows(cloud: StorageCloud) -> int:
    (found,) = cloud.store.execute("SELECT count(*) FROM storage_bytes").fetchone()
    return int(found)


@pytest.mark.parametrize(("size", "expected"), [(0, 1), (LARGEST_ROW, 1), (LARGEST_ROW + 1, 0)])
async def test_small_content_is_in_its_row_after_a_restart(
    cloud: StorageCloud, size: int, expected: int
) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    await cloud.put("a", data[:size])
    await cloud.restart()
    assert (rows(cloud), cloud.blobs()) == (expected, 1)
    assert (await cloud.read("a")).content == data[:size]


async def test_copy_of_a_row_outlives_its_source(cloud: StorageCloud) -> None:
    await cloud.put("a", b"few")
    await cloud.client.post(f"{path('a')}/copyTo/b/{BUCKET}/o/b")
    await cloud.client.delete(path("a"))
    assert ((await cloud.read("b")).content, rows(cloud)) == (b"few", 1)


async def test_row_that_nothing_names_is_deleted_at_start(cloud: StorageCloud) -> None:
    await cloud.put("a", b"few")
    cloud.store.execute("INSERT INTO storage_bytes (data) VALUES ('lost')")
    await cloud.restart()
    assert rows(cloud) == 1


async def test_refused_overwrite_keeps_the_row_of_the_live_object(cloud: StorageCloud) -> None:
    await cloud.put("a", b"first")
    assert (await cloud.put("a", b"second", ifGenerationMatch=0)).status_code == 412
    assert ((await cloud.read("a")).content, rows(cloud)) == (b"first", 1)


def test_name_of_a_deleted_row_is_never_given_again(tmp_path: Path) -> None:
    store = MemoryStore()
    blobs = Blobs(tmp_path, store)
    first = blobs.keep(blobs.take(b"first")).blob
    blobs.delete(first)
    second = blobs.keep(blobs.take(b"second")).blob
    blobs.delete(first)

    assert second != first
    with blobs.open(second) as data:
        assert data.read() == b"second"


def test_memory_for_recent_rows_is_bounded(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, MemoryStore())
    names = [blobs.keep(blobs.take(bytes(LARGEST_ROW))).blob for _ in range(400)]
    names += [blobs.keep(blobs.take(b"")).blob for _ in range(40_000)]
    tracemalloc.start()
    for name in names:
        assert blobs.row(name) is not None
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
