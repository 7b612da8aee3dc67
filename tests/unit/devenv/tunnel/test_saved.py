"""Unit tests of saved requests: lookup by key, limit, careful reading."""

import json
from pathlib import Path
from typing import Any

import pytest

from devenv.tunnel import saved
from devenv.tunnel.saved import SavedRequest, SavedRequests, Unreadable, load
from tests.unit.devenv.tunnel.samples import CALLBACKS

RUN = "5f0c8f6e-7a57-4a44-9f0e-4a2f5a1f6d11"
OTHER = "5f0c8f6e-7a57-4a44-9f0e-4a2f5a1f6d12"


def _keep(kept: SavedRequests, run: str, now: float, body: str = "") -> Path:
    request = SavedRequest(
        path=CALLBACKS, caller="me@example.com", body=body or json.dumps({"run_id": run})
    )
    return kept.keep(request, member="run_id", now=now)


def test_newest_callback_of_run_is_found(tmp_path: Path) -> None:
    callbacks = SavedRequests(tmp_path / "requests")
    _keep(callbacks, RUN, 1000.0)
    newest = _keep(callbacks, RUN, 1000.5)
    _keep(callbacks, OTHER, 2000.0)

    assert callbacks.latest(RUN) == newest
    assert callbacks.latest("5f0c8f6e") is None


def test_oldest_callbacks_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "KEPT", 2)
    callbacks = SavedRequests(tmp_path)

    kept = [_keep(callbacks, RUN, 1000.0 + second) for second in range(4)]

    assert sorted(tmp_path.iterdir()) == kept[2:]


@pytest.mark.parametrize("body", ["x", "\ufffd", '{"run_id": "../../x"}', '{"run_id": 7}', "[]"])
def test_file_name_is_harmless_for_any_body(tmp_path: Path, body: str) -> None:
    file = _keep(SavedRequests(tmp_path), RUN, 0.0, body)

    assert file.name == "19700101T000000.000000-.json"
    assert load(file).body == body


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


@pytest.mark.parametrize("path", ["@elsewhere.example/", ":80@x/", "health/", "/a b/", ""])
def test_file_with_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(json.dumps({"path": path, "caller": "me@example.com", "body": "{}"}))

    with pytest.raises(Unreadable, match="must begin with a slash"):
        load(file)
