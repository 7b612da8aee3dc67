"""Unit tests of saved callbacks: lookup by run, limit, careful reading."""

import json
from pathlib import Path
from typing import Any

import pytest

from devenv.tunnel import saved
from devenv.tunnel.doors import CALLBACKS
from devenv.tunnel.saved import Callbacks, Unreadable, load

RUN = "5f0c8f6e-7a57-4a44-9f0e-4a2f5a1f6d11"
OTHER = "5f0c8f6e-7a57-4a44-9f0e-4a2f5a1f6d12"


def _keep(callbacks: Callbacks, run: str, now: float) -> Path:
    body = json.dumps({"run_id": run}).encode()
    return callbacks.keep(CALLBACKS, body, caller="me@example.com", fields=[], now=now)


def test_newest_callback_of_run_is_found(tmp_path: Path) -> None:
    callbacks = Callbacks(tmp_path / "callbacks")
    _keep(callbacks, RUN, 1000.0)
    newest = _keep(callbacks, RUN, 1000.5)
    _keep(callbacks, OTHER, 2000.0)

    assert callbacks.latest(RUN) == newest
    assert callbacks.latest("5f0c8f6e") is None


def test_oldest_callbacks_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "KEPT", 2)
    callbacks = Callbacks(tmp_path)

    kept = [_keep(callbacks, RUN, 1000.0 + second) for second in range(4)]

    assert sorted(tmp_path.iterdir()) == kept[2:]


@pytest.mark.parametrize("body", [b"", b"\xff", b'{"run_id": "../../x"}', b'{"run_id": 7}', b"[]"])
def test_file_name_is_harmless_for_any_body(tmp_path: Path, body: bytes) -> None:
    file = Callbacks(tmp_path).keep(CALLBACKS, body, caller="", fields=[], now=0.0)

    assert file.name == "19700101T000000.000000-.json"
    assert load(file).run_id == ""


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"[",
        b"[]",
        b"[" * 100_000,
        {"path": "/x/"},
        {"path": 1, "caller": "", "body": ""},
        {"path": CALLBACKS, "caller": "", "body": "", "headers": []},
        {"path": CALLBACKS, "caller": "", "body": "", "surplus": 1},
        b" " * 1_100_000,
    ],
)
def test_invalid_file_is_refused_by_name(tmp_path: Path, data: Any) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())

    with pytest.raises(Unreadable, match=r"file\.json"):
        load(file)


@pytest.mark.parametrize("path", ["@elsewhere.example/", ":80@x/", "/health/", f"{CALLBACKS}?x"])
def test_file_with_other_path_is_refused(tmp_path: Path, path: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(json.dumps({"path": path, "caller": "me@example.com", "body": "{}"}))

    with pytest.raises(Unreadable, match=f"callbacks go to {CALLBACKS}"):
        load(file)
