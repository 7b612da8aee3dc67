"""The file of the emulated cloud's state."""

from contextlib import closing
from pathlib import Path

import pytest

from devenv.gcp.store import Store


def test_second_store_of_one_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    with closing(Store(path)), pytest.raises(OSError, match=r"state\.sqlite3 is open in another"):
        Store(path, timeout=0.01)
    Store(path).close()
