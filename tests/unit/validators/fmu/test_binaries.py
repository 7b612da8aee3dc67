"""Whether native code may run here at all."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from validators.fmu.binaries import require_executable
from validators.sdk.validation import Failure


def test_a_folder_that_forbids_native_code_is_our_fault_not_the_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))

    with pytest.raises(Failure, match="mounted noexec"):
        require_executable(tmp_path)


def test_an_ordinary_folder_will_do(tmp_path: Path) -> None:
    require_executable(tmp_path)
