"""Unit tests of the table that ends `up`, and of the same data for scripts."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from devenv import config
from devenv.cli import summary
from devenv.cli.output import CliOutput
from devenv.product import Product
from devenv.secrets import Secrets
from devenv.stack.statefile import ServiceState, StackState

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def facts(tmp_path: Path) -> dict[str, Any]:
    ours = replace(config.load(ROOT), root=tmp_path / "my folder")
    ours.state.mkdir(parents=True)
    workflow = {"slug": "box", "name": "A box", "sample": "b.idf", "failing_sample": "/x/c.idf"}
    ours.seed_file.write_text(json.dumps({"org": "demo", "workflows": [workflow]}))
    product = Product(config=ours, secrets=Secrets.load(ours.secrets_file))
    services = {"web": ServiceState("healthy", pid=7)}
    return summary.facts(product, StackState(phase="ready", mode="emulated", services=services))


def test_samples_are_absolute_paths(facts: dict[str, Any], tmp_path: Path) -> None:
    [workflow] = facts["workflows"]

    assert workflow["sample"] == str(tmp_path / "my folder" / "b.idf")
    assert workflow["failing_sample"] == "/x/c.idf"


def test_lines_to_paste_quote_spaces(facts: dict[str, Any], tmp_path: Path) -> None:
    lines = summary.paste(facts)

    assert lines[-1] == f"validibot validate '{tmp_path}/my folder/b.idf' -w box"
    assert f"VALIDIBOT_TOKEN={facts['api_key']}" in lines[1]
    assert "VALIDIBOT_ORG=demo" in lines[1]


def test_table_has_every_url(facts: dict[str, Any]) -> None:
    out = StringIO()
    CliOutput(out=out, err=StringIO()).result(facts, summary.table_of(facts))
    table = out.getvalue()

    for place in ("web", "worker", "mail", "gcp", "postgres"):
        assert facts["urls"][place] in table
    assert facts["login"]["password"] in table


@pytest.mark.parametrize("seed", ["", "{", "[]", '{"org": null}'])
def test_missing_or_damaged_seed_is_ignored(tmp_path: Path, seed: str) -> None:
    ours = replace(config.load(ROOT), root=tmp_path)
    ours.state.mkdir()
    ours.seed_file.write_text(seed)
    product = Product(config=ours, secrets=Secrets.load(ours.secrets_file))

    facts = summary.facts(product, StackState())

    assert (facts["org"], facts["workflows"]) == (None, [])
