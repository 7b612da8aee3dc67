"""Unit tests of the `[tunnel]` table: errors name the key and what it should look like."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from devenv.gcp.tables import ConfigError
from devenv.tunnel.config import parse
from tests.unit.devenv.tunnel.samples import SCHEDULER, TASKS, VALIDATOR, config, ssh, table


def _refused(data: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        parse(data, jobs=["job"])


def test_table_has_callers_and_jobs() -> None:
    made = config()

    assert made.callers == (TASKS, SCHEDULER, VALIDATOR)
    assert made.jobs == ("validator-fmu",)


@pytest.mark.parametrize("name", list(table()))
def test_missing_key_is_named_with_example(name: str) -> None:
    data = table()
    del data[name]

    _refused(data, rf"tunnel\.{name} is missing; it looks like ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("provider", "carrier-pigeon"),
        ("project", "My Project"),
        ("region", "us-west1/../../secrets"),
        ("queue", "runs/tasks"),
        ("bucket", "gs://bucket"),
        ("tasks_account", "tasks"),
        ("scheduler_account", f"a@{'x' * 300}.com"),
        ("job_accounts", []),
        ("job_accounts", ["x"] * 51),
        ("job_accounts", "validator@p.iam.gserviceaccount.com"),
        ("job_accounts", [7]),
        ("jobs", ["Job"]),
        ("url", "http://dev.example.com"),
        ("url", "https://dev.example.com/"),
        ("url", "https://user@dev.example.com"),
        ("port", 0),
        ("port", True),
        ("ssh", "me@host"),
        ("surplus", 1),
    ],
)
def test_invalid_value_is_named(name: str, value: Any) -> None:
    _refused(table(**{name: value}), rf"tunnel\b.*{name}.* (must|known)")


@pytest.mark.parametrize(
    ("old", "new"),
    [("validator_accounts", "job_accounts"), ("capability_account", "storage_account")],
)
def test_old_key_is_refused_with_its_new_name(old: str, new: str) -> None:
    data = table()
    data[old] = data.pop(new)

    _refused(data, f"tunnel.{old} is called {new} now")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("destination", "-oProxyCommand=reboot"),
        ("destination", "me@-host"),
        ("destination", "me@host; reboot"),
        ("identity_file", "-F/etc/passwd"),
        ("remote_port", "8080"),
        ("ssh_port", 70000),
        ("password", "secret"),
    ],
)
def test_value_cannot_become_option_of_ssh(name: str, value: Any) -> None:
    _refused(ssh(**{name: value}), rf"tunnel\.ssh.*{name}")


def test_ssh_needs_host_port_and_url() -> None:
    _refused(table(provider="ssh"), r"tunnel\.ssh\.destination is missing")
    _refused(ssh() | {"ssh": {"destination": "host"}}, r"tunnel\.ssh\.remote_port is missing")
    _refused({k: v for k, v in ssh().items() if k != "url"}, r"tunnel\.url is missing")


def test_named_tunnel_needs_url() -> None:
    _refused(table(cloudflared={"name": "dev"}), r"tunnel\.url is missing; .*route dns")


def test_tables_of_docs_page_are_valid() -> None:
    page = (Path(__file__).parents[4] / "docs" / "modes" / "tunnel.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)

    tables = [parse(tomllib.loads(block)["tunnel"], jobs=["job"]) for block in blocks]

    assert [one.provider for one in tables] == ["cloudflared", "ssh"]
