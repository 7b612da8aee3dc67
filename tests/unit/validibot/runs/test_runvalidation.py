"""`manage.py runvalidation`: files are checked as by a site, without a database.

No test here may use the database: pytest-django refuses every query.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from django.core.management import CommandError, call_command

WORKFLOW = """\
format: validibot.workflow.v1
slug: people
name: People
input_schema: |
  {"type": "object", "properties": {"limit": {"type": "integer"}}}
steps:
- name: Shape
  validator: json-schema
  config:
    schema: |
      {"required": ["name"], "properties": {"age": {"minimum": 0}}}
  on_failure: continue
  signals:
  - name: age
    expression: payload.age
- name: Age
  validator: assertions
  when: submission.filename != "skipped.json"
  assertions:
  - expression: payload.age < 100 && (!has(i.limit) || s.age < i.limit)
    message: Too old.
- name: Last
  validator: assertions
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.yaml").write_text(WORKFLOW)
    (tmp_path / "good.json").write_text('{"name": "Ada", "age": 36}')
    (tmp_path / "bad.json").write_text('{\n "age": -1\n}')
    return tmp_path


def run(*files: str, workflow: str = "people.yaml", **options: Any) -> int:
    """Run the command in the current folder; return its exit code."""
    try:
        call_command("runvalidation", *files, workflow=Path(workflow), **options)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_passing_file_ends_with_zero(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("good.json") == 0
    assert capsys.readouterr().out == "good.json: PASS\n"


def test_findings_are_printed_as_linters_do(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("good.json", "bad.json") == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "good.json: PASS"
    assert 'bad.json:1:1: error required "name" is a required property' in lines
    assert "bad.json:2:9: error minimum -1 is less than the minimum of 0 [/age]" in lines
    assert lines[-1] == "bad.json: FAIL"


def test_json_has_results_steps_and_findings(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "old.json").write_text('{"name": "Methuselah", "age": 969}')

    assert run("old.json", json=True) == 1

    [file] = json.loads(capsys.readouterr().out)["files"]
    assert (file["file"], file["result"]) == ("old.json", "FAIL")
    assert [step["status"] for step in file["steps"]] == ["PASSED", "FAILED", "SKIPPED"]
    [finding] = file["findings"]
    assert (finding["step"], finding["message"]) == (2, "Too old.")


def test_condition_and_input_take_effect(folder: Path) -> None:
    (folder / "skipped.json").write_text('{"name": "Methuselah", "age": 969}')

    assert run("skipped.json") == 0
    assert run("good.json", input=[("limit", "40")]) == 0
    assert run("good.json", input=[("limit", "30")]) == 1


def test_sarif_and_junit_name_the_file_by_its_path(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "data").mkdir()
    (folder / "bad.json").rename(folder / "data/bad.json")

    assert run("good.json", "data/bad.json", format="sarif") == 1
    (joined,) = json.loads(capsys.readouterr().out)["runs"]
    assert [file["location"]["uri"] for file in joined["artifacts"]] == [
        "good.json",
        "data/bad.json",
    ]
    place = joined["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "data/bad.json", "index": 1}

    assert run("data/bad.json", format="junit") == 1
    suites = ET.fromstring(capsys.readouterr().out)  # noqa: S314 - our own
    assert [suite.get("failures") for suite in suites] == ["2", "0", "0"]


def test_files_of_workflow_are_read_beside_it_or_from_bundle(folder: Path) -> None:
    gallery = Path(__file__).parents[4] / "validibot/workflows/gallery/species-occurrences"
    with zipfile.ZipFile("bundle.zip", "w") as archive:
        for path in gallery.iterdir():
            archive.write(path, path.name)

    for workflow in (str(gallery / "workflow.yaml"), "bundle.zip"):
        assert run(str(gallery / "pass.csv"), workflow=workflow) == 0
        assert run(str(gallery / "fail.csv"), workflow=workflow) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("json-schema", "energyplus", r"people.yaml: Line 8, .*'energyplus' does not run without"),
        ("json-schema", "json-schema@99", "There is no json-schema@99"),
        ("payload.age < 100", "payload.age <", "Line 20, steps.1.assertions.0"),
        ('"minimum": 0', '"minimum": "0"', "Line 10, steps.0.config: The schema is invalid"),
        ("steps:", "stages:", "'stages' is not a key here"),
        (WORKFLOW.partition("steps:")[2], " []\n", "no enabled step"),
    ],
)
def test_invalid_workflow_is_named_with_its_line(
    folder: Path, old: str, new: str, message: str
) -> None:
    (folder / "people.yaml").write_text(WORKFLOW.replace(old, new))

    with pytest.raises(CommandError, match=message) as refused:
        run("good.json")
    assert refused.value.returncode == 2


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["none.json"], {}, "none.json cannot be read: No such file"),
        (["."], {}, "is not a file that People accepts|cannot be read"),
        (["good.txt"], {}, "good.txt is not a file that People accepts; it takes .*.json"),
        (["good.json"], {"workflow": "none.yaml"}, "none.yaml cannot be read"),
        (["good.json"], {"input": [("limit", "x")]}, "--input limit: "),
    ],
)
def test_unusable_argument_is_named(
    folder: Path, files: list[str], options: dict[str, Any], message: str
) -> None:
    (folder / "good.txt").write_text("")

    with pytest.raises(CommandError, match=message):
        run(*files, **options)


def test_hook_of_pre_commit_runs_the_command(folder: Path) -> None:
    """`uv` is replaced by a script that runs what follows its options with this Python."""
    root = Path(__file__).parents[4]
    hooks = yaml.safe_load((root / ".pre-commit-hooks.yaml").read_text())
    [hook] = [each for each in hooks if each["id"] == "runvalidation"]
    uv = folder / "bin/uv"
    uv.parent.mkdir()
    uv.write_text(
        f'#!/bin/sh\nwhile [ "$1" != python ]; do shift; done\nshift\nexec {sys.executable} "$@"\n'
    )
    uv.chmod(0o755)

    done = subprocess.run(
        (root / hook["entry"], "-w", "people.yaml", "bad.json"),
        env={"PATH": f"{uv.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (hook["language"], done.returncode) == ("script", 1), done.stderr
    assert done.stdout.endswith("bad.json: FAIL\n")
