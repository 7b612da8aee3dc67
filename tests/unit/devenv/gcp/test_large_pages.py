"""Large pages for the memory of a process."""

from pathlib import Path

import pytest

from devenv.gcp import large_pages


def test_memory_keeps_its_content_in_large_pages() -> None:
    content = [bytes([number % 256]) * 1000 for number in range(10_000)]

    large_pages.use_large_pages()

    assert all(part == bytes([number % 256]) * 1000 for number, part in enumerate(content))


def test_system_without_maps_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(large_pages, "_MAPS", tmp_path / "maps")

    large_pages.use_large_pages()
