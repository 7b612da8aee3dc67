"""Unit tests of the table that ends `up`, and of the same data for scripts."""

import json
from io import StringIO
from pathlib import Path

import pytest

from devenv.cli import summary
from devenv.cli.output import CliOutput
from devenv.services import facts as stack_facts
from devenv.stack.statefile import ServiceState, StackState
from tests.declared import config_in, stack_in

STATE = StackState(phase="ready", mode="emulated", services={"web": ServiceState("healthy", pid=7)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my folder"
    config = config_in(folder)
    workflow = {"slug": "box", "name": "A box", "sample": f"{folder}/b.idf"}
    seed = {"org": "demo", "workflows": [workflow]}
    (config.state / "seed.json").write_text(json.dumps(seed))
    return folder


def test_lines_to_paste_quote_spaces(folder: Path) -> None:
    config, stack = config_in(folder), stack_in(folder)
    facts = stack_facts.gather(config, stack, STATE)

    lines = stack_facts.paste(config, stack, facts)

    assert lines[-1] == f"validibot validate '{folder}/b.idf' -w box"
    assert f"VALIDIBOT_TOKEN={facts['api_key']}" in lines[1]
    assert "VALIDIBOT_ORG=demo" in lines[1]


def test_table_has_every_url(folder: Path) -> None:
    config, stack, out = config_in(folder), stack_in(folder), StringIO()
    facts = stack_facts.gather(config, stack, STATE)
    CliOutput(out=out, err=StringIO()).result(facts, summary.table_of(config, stack, facts))
    table = out.getvalue()

    assert "Validibot · emulated Google Cloud" in table
    for place in ("web", "worker", "mail", "gcp", "postgres"):
        assert facts["urls"][place] in table
    assert facts["login"]["password"] in table


def test_run_has_variables_of_known_facts_only(folder: Path, tmp_path: Path) -> None:
    names = {"VALIDIBOT_API_URL", "VALIDIBOT_TOKEN"}
    for place, expected in ((folder, names | {"VALIDIBOT_ORG"}), (tmp_path, names)):
        config, stack = config_in(place), stack_in(place)
        facts = stack_facts.gather(config, stack, STATE)

        assert set(stack_facts.run_variables(config, stack, facts)) == expected


@pytest.mark.parametrize("seed", ["", "{", "[]"])
def test_missing_or_damaged_facts_file_is_ignored(tmp_path: Path, seed: str) -> None:
    config, stack = config_in(tmp_path), stack_in(tmp_path)
    (config.state / "seed.json").write_text(seed)

    facts = stack_facts.gather(config, stack, StackState())

    assert (facts.get("org"), facts["workflows"]) == (None, [])
    assert stack_facts.paste(config, stack, facts) == [
        "pip install validibot-cli==0.3.2",
        "validibot workflows list",
    ]


def test_secrets_of_servers_are_not_shown(tmp_path: Path) -> None:
    assert stack_facts.shown_secrets(config_in(tmp_path)) == {"demo_password", "demo_api_key"}
