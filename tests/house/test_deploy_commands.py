"""Comparison of the pipelines and pages that deploy with the commands of `python -m deploy`."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from deploy.cli import app
from deploy.rotation import ENDS
from deploy.stage_file import STAGES

ROOT = Path(__file__).parents[2]
PIPELINES = ("cloudbuild.yaml", ".github/workflows/deploy.yml")
PAGES = (
    *("docs/runbooks.md", "docs/production.md", "docs/scale.md", "docs/costs.md"),
    *("docs/moving-in.md", "SECURITY.md"),
)
_COMMAND = re.compile(r"python -m deploy ([^`\n|]+)")


def commands(text: str) -> list[list[str]]:
    """Return the words after `python -m deploy` of each command in a text."""
    found = [match.partition(" #")[0] for match in _COMMAND.findall(text)]
    return [shlex.split(each.replace("\\", "").partition("<")[0]) for each in found]


def parsed(words: list[str]) -> str:
    """Return the name of the subcommand; raises click's UsageError for one that does not exist."""
    command: Any = get_command(app)
    rest = words
    context = command.make_context("deploy", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context, resilient_parsing=True)
    command.make_context(name, list(rest))
    return str(name)


def scripts(pipeline: str) -> str:
    """Return what the steps of a pipeline run, in their order."""
    data = yaml.safe_load((ROOT / pipeline).read_text())
    steps = data.get("steps") or [step for job in data["jobs"].values() for step in job["steps"]]
    parts = [step.get("script") or step.get("run") or "" for step in steps]
    parts += [" ".join(step["args"]) for step in steps if "args" in step]
    return "\n".join(parts)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_pipeline_tests_builds_pushes_plans_and_applies(pipeline: str) -> None:
    text = scripts(pipeline)

    assert [parsed(words) for words in commands(text)] == [
        *("apply", "push", "plan", "apply", "verify"),
    ]
    assert ".ci/run" in text
    assert "make dev image validators" in text
    # Deletion is left to a person.
    assert "--yes" not in " ".join(shlex.join(words) for words in commands(text))
    assert text.count(" --keep") == text.count("deploy apply") == 2


def test_workflow_has_an_identity_and_no_key() -> None:
    text = (ROOT / ".github/workflows/deploy.yml").read_text()
    data = yaml.safe_load(text)
    trigger = data[True]["workflow_dispatch"]["inputs"]["stage"]

    assert sorted(trigger["options"]) == sorted(path.stem for path in STAGES.glob("*.toml"))
    assert data["jobs"]["deploy"]["permissions"]["id-token"] == "write"
    assert data["jobs"]["deploy"]["needs"] == "test"
    assert "workload_identity_provider" in text
    assert "secrets." not in text
    assert "credentials_json" not in text


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_exist(page: str) -> None:
    found = commands((ROOT / page).read_text())

    assert found
    for words in found:
        if "|" not in words[0]:
            parsed(words)


def test_runbook_names_what_each_rotation_ends() -> None:
    page = (ROOT / "docs/runbooks.md").read_text()

    for name, ends in ENDS.items():
        assert f"| `{name}` | {ends} |" in page
