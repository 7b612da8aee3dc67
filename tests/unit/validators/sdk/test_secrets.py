"""Secrets of a custom validator in its program, and on the machine of its author."""

from pathlib import Path
from typing import Any

import pytest

from validators.sdk.__main__ import main
from validators.sdk.validation import Failure, ValidationRequest

EXAMPLE = Path("examples/text_limits/validator.toml")


def test_secret_is_read_from_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request: ValidationRequest[Any] = ValidationRequest(
        envelope=None, files={}, folder=tmp_path, deadline=0.0
    )
    monkeypatch.setenv("API_KEY", "k")

    assert request.secret("API_KEY") == "k"
    monkeypatch.delenv("API_KEY")
    with pytest.raises(Failure, match="The secret API_KEY is not set"):
        request.secret("API_KEY")


def test_samples_need_the_secrets_of_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = EXAMPLE.read_text().partition("[[samples]]")[0]
    (tmp_path / "validator.toml").write_text(f"{text}\n[secrets.API_KEY]\n")
    monkeypatch.delenv("API_KEY", raising=False)

    assert main([str(tmp_path)]) == 2
    assert "`secrets.API_KEY`: set the variable API_KEY to try it." in capsys.readouterr().err
    monkeypatch.setenv("API_KEY", "k")
    assert main([str(tmp_path)]) == 0
