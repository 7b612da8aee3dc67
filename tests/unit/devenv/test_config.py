"""Unit tests of devenv.toml."""

from dataclasses import replace
from pathlib import Path

import pytest

from devenv import config
from devenv.config import Config
from devenv.gcp.tables import ConfigError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def ours() -> Config:
    return config.load(ROOT)


def test_cloud_services_follow_moved_ports(ours: Config) -> None:
    moved = ours.on(replace(ours.ports, worker=9001))

    assert moved.cloud_service(9001).name == "validibot-worker"
    assert moved.cloud_service(8000).name == "validibot-web"


def test_port_without_cloud_service_is_refused(ours: Config) -> None:
    with pytest.raises(ConfigError, match="no service with the port 1"):
        ours.cloud_service(1)


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"devenv\.toml is not there"):
        config.load(tmp_path)


def _with(tmp_path: Path, text: str) -> Config:
    (tmp_path / "devenv.toml").write_text(text)
    return config.load(tmp_path)


def test_external_servers_are_urls(tmp_path: Path) -> None:
    ours = _with(tmp_path, '[external]\npostgres = "postgres://me:pw@db.local:5433/validibot"\n')

    assert ours.external.postgres == "postgres://me:pw@db.local:5433/validibot"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('redis = "redis://localhost:1"', "unknown key 'redis'"),
        (
            'smtp = "mail.local"',
            r"external\.smtp is 'mail\.local'; it must look like smtp://HOST:PORT",
        ),
        ('mail = "http://mail.local"', r"it must look like http://HOST:PORT or https://HOST:PORT"),
        ("postgres = 5432", r"external\.postgres is 5432"),
    ],
)
def test_invalid_external_server_is_refused_by_name(
    tmp_path: Path, line: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        _with(tmp_path, f"[external]\n{line}\n")


TOML = """\
[ports]
web = 8000

[gcp]
iam = "strict"
bindings = [
  # a comment
  { member = "web", role = "roles/run.viewer" },
  { member = "web", role = 3 },
]

[[gcp.queues]]
name = "runs"

[[gcp.queues]]
name = "mails"
max_attempts = 5

[[gcp.jobs]]
name = "job"
image = "job:1"
account = "job"
env = { A = "1" }
"""


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("web = 8000", "web = 0", "devenv.toml:2: ports.web is 0; it must be greater than"),
        ("web = 8000", "web = '8000'", "devenv.toml:2: ports.web is '8000'; it must be a valid"),
        ("web = 8000", "web = true", "devenv.toml:2: ports.web is True; it must be a valid"),
        (
            "web = 8000",
            "webb = 1",
            "devenv.toml:2: ports has the unknown key 'webb'; known are gcp",
        ),
        (
            'iam = "strict"',
            'iam = "loose"',
            "devenv.toml:5: gcp.iam is 'loose'; it must be 'off', ",
        ),
        (
            "role = 3",
            "role = 3",
            "devenv.toml:9: gcp.bindings[1].role is 3; it must be a valid string",
        ),
        ("max_attempts = 5", "max_attempts = 'x'", "devenv.toml:17: gcp.queues[1].max_attempts"),
        ('name = "mails"', "", "devenv.toml:15: gcp.queues[1].name is missing"),
        ('{ A = "1" }', "{ A = 1 }", "devenv.toml:23: gcp.jobs[0].env.A is 1; it must be a valid"),
        ('{ A = "1" }', "3", "devenv.toml:23: gcp.jobs[0].env is 3; it must be a"),
        ("[ports]", "[harbours]", "devenv.toml:1: unknown table [harbours]; known are [ports]"),
    ],
)
def test_error_names_file_line_key_and_allowed_values(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    good = TOML if before == "role = 3" else TOML.replace("role = 3", 'role = "x"')

    with pytest.raises(ConfigError) as caught:
        _with(tmp_path, good.replace(before, after))

    assert str(caught.value).startswith(complaint)


def test_error_of_local_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "devenv.local.toml").write_text("[tunnel]\nprovider = 'pigeon'\n")

    with pytest.raises(ConfigError, match=r"devenv\.local\.toml:2: tunnel\.provider is 'pigeon'"):
        _with(tmp_path, "")
