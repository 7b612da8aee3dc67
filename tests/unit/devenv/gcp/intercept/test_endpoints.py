"""The file with the addresses of the emulated cloud."""

from pathlib import Path

import pytest

from devenv.gcp.intercept.endpoints import Endpoints, read


def test_endpoints_are_read_as_written(tmp_path: Path) -> None:
    where = Endpoints(
        1, "http://a:1", "http://a:2", "/b", {"web": 3}, {"proxy": 4}, {"web": {"A": "B"}}
    )
    where.write(tmp_path / "e.json")

    assert read(tmp_path / "e.json") == where


@pytest.mark.parametrize("content", ["", "[", "[]", "null", '{"strange": 1}'])
def test_broken_endpoints_file_is_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / "e.json").write_text(content)

    assert read(tmp_path / "e.json") == Endpoints()
    assert read(tmp_path / "missing.json") == Endpoints()
