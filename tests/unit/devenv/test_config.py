"""devenv.toml, and what follows from it."""

from dataclasses import replace
from pathlib import Path

import pytest

from devenv import config
from devenv.config import Config
from devenv.gcp.config import ConfigError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def ours() -> Config:
    return config.load(ROOT)


def test_services_of_the_cloud_move_with_ours(ours: Config) -> None:
    moved = ours.on(replace(ours.ports, worker=9001))

    assert moved.cloud_service(9001).name == "validibot-worker"
    assert moved.cloud_service(8000).name == "validibot-web"


def test_a_port_without_a_service_is_refused(ours: Config) -> None:
    with pytest.raises(ConfigError, match="no service with the port 1"):
        ours.cloud_service(1)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"devenv\.toml is not there"):
        config.load(tmp_path)


def _with(tmp_path: Path, text: str) -> Config:
    (tmp_path / "devenv.toml").write_text(text)
    return config.load(tmp_path)


def test_servers_of_somebody_else_are_named_by_url(tmp_path: Path) -> None:
    ours = _with(tmp_path, '[external]\npostgres = "postgres://me:pw@db.local:5433/validibot"\n')

    assert ours.external.postgres == "postgres://me:pw@db.local:5433/validibot"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('redis = "redis://localhost:1"', "unknown key 'redis'"),
        ('smtp = "mail.local"', r"external\.smtp is 'mail\.local'; it must be smtp://HOST:PORT"),
        ('mail = "http://mail.local"', r"it must be http://HOST:PORT or https://HOST:PORT"),
        ("postgres = 5432", r"external\.postgres is 5432"),
    ],
)
def test_a_wrong_server_is_refused_by_name(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        _with(tmp_path, f"[external]\n{line}\n")
