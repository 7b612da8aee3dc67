"""The program of the GitHub Action and the pre-commit hook, against the API in the process."""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from django.test import TestCase

from action import launch
from tests.unit.validibot.api.conftest import Api
from validibot.runs.models import Run
from validibot.workflows.models import Workflow

ROOT = Path(__file__).parents[4]


class ActionSite:
    """Carries requests of the program to Django's test client; `failures` come first."""

    def __init__(self, api: Api, *failures: Any) -> None:
        self.api = api
        self.failures = list(failures)

    def __call__(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> launch.Answer:
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure, {"Retry-After": "1"}, b"busy"
        kind = headers.get("Content-Type", "")
        with TestCase.captureOnCommitCallbacks(execute=True):  # the run is executed
            answer = self.api.client.generic(method, path, body, content_type=kind, headers=headers)
        return answer.status_code, dict(answer.headers), answer.content


@pytest.fixture
def environ(alice: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of a step of GitHub Actions, in a folder with two files."""
    monkeypatch.chdir(tmp_path)
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: None)
    monkeypatch.setattr(launch, "time", clock)
    Path("data").mkdir()
    Path("data/bad.json").write_text('{\n "age": "1,0"\n}')
    Path("data/good.json").write_text('{"name": "Ada"}')
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": "output",
        "GITHUB_STEP_SUMMARY": "summary.md",
        "VALIDIBOT_API_URL": "https://testserver/",
        "VALIDIBOT_FILES": "data/*.json\n",
        "VALIDIBOT_INPUTS": "phase=final\n",
        "VALIDIBOT_ORG": "acme",
        "VALIDIBOT_SARIF": "found.sarif",
        "VALIDIBOT_TOKEN": alice.headers["Authorization"].removeprefix("Bearer "),
        "VALIDIBOT_WORKFLOW": "people",
    }


def test_findings_become_annotations_summary_and_sarif(
    environ: dict[str, str], alice: Api, people: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main([], environ, ActionSite(alice, OSError("reset"), 503)) == 1

    printed = capsys.readouterr().out
    assert "::error file=data/bad.json,line=2,col=" in printed
    assert "data/good.json: PASS https://testserver/app/orgs/acme/runs/" in printed
    run = Run.objects.get(submission__filename="bad.json")
    assert run.submission.metadata == {"phase": "final"}
    assert (
        f"[FAIL](https://testserver/app/orgs/acme/runs/{run.pk}/)" in Path("summary.md").read_text()
    )
    (joined,) = json.loads(Path("found.sarif").read_text())["runs"]
    assert {
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in joined["results"]
    } == {"data/bad.json"}
    assert [file["location"]["uri"] for file in joined["artifacts"]] == [
        "data/bad.json",
        "data/good.json",
    ]
    result, runs = Path("output").read_text().splitlines()
    assert result == "result=FAIL"
    assert [each["result"] for each in json.loads(runs.removeprefix("runs="))] == ["FAIL", "PASS"]
    assert Run.objects.count() == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"VALIDIBOT_TOKEN": "vbk_1_x"}, "unknown, expired or revoked"),
        ({"VALIDIBOT_WORKFLOW": "moon"}, "There is no workflow 'moon'"),
        ({"VALIDIBOT_FILES": "missing.json"}, "cannot be read"),
        ({"VALIDIBOT_INPUTS": ""}, ""),
    ],
)
def test_file_that_cannot_be_checked_ends_with_code_2(
    environ: dict[str, str],
    alice: Api,
    people: Workflow,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    message: str,
) -> None:
    site = ActionSite(alice, *([] if message else [OSError("reset")] * 5))

    code = launch.main([], environ | {"VALIDIBOT_FILES": "data/good.json"} | change, site)

    assert code == 2
    printed = capsys.readouterr().out
    assert (message or "cannot be reached: reset") in printed
    assert "::error file=" in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"VALIDIBOT_TOKEN": ""}, "VALIDIBOT_TOKEN is empty"),
        ({"VALIDIBOT_FILES": "*.idf"}, "No file was named"),
        ({"VALIDIBOT_TIMEOUT": "-1"}, "--timeout is '-1'"),
        ({"VALIDIBOT_INPUTS": "phase"}, "is not NAME=VALUE"),
    ],
)
def test_wrong_option_is_named(
    environ: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as end:
        launch.main([], environ | change)

    assert (end.value.code, message in capsys.readouterr().err) == (2, True)


def test_key_is_sent_by_https_only(environ: dict[str, str]) -> None:
    assert launch.main([], environ | {"VALIDIBOT_API_URL": "http://validibot.example"}) == 2


def test_text_of_findings_cannot_add_workflow_commands() -> None:
    finding = {"severity": "ERROR", "line": 1, "column": None, "code": "a,b", "path": ""}
    finding["message"] = "100%\n::set-output name=result::PASS | <b>"
    report = launch.FileReport("::error::x\ny", "FAIL", findings=[finding], finding_count=1)

    written = [*launch.workflow_commands([report]), *launch.log_lines([report])]

    assert not any("\n" in line for line in written)
    assert not any(line.startswith("::") for line in written[1:])
    assert "title=a%2Cb::100%25%0A::set-output" in written[0]
    summary = launch.step_summary([report])
    assert "PASS &#124; &#60;b&#62; |" in summary  # shown as they are
    assert "##[" not in "".join(launch.log_lines([launch.FileReport("a", error="x ##[error]y")]))


def test_pause_that_a_site_asks_for_is_bounded(environ: dict[str, str]) -> None:
    answers = [(503, {"retry-after": each}, b"") for each in ("86400", "²", "", "7")]
    answers.append((200, {}, b"[]"))
    pauses: list[float] = []
    options = launch.read_options(["data/good.json"], environ)
    launcher = launch.Launcher(options, lambda *_: answers.pop(0), sleep=pauses.append)

    report = launcher.check(Path("data/good.json"))

    assert pauses == [60.0, 2.0, 4.0, 7.0]
    assert report.error == "This is no Validibot site. (HTTP 200)"


def test_document_of_another_program_is_an_error_of_the_file(environ: dict[str, str]) -> None:
    options = launch.read_options(["data/good.json"], environ)
    launcher = launch.Launcher(options, lambda *_: (200, {}, b"{}"), sleep=lambda _: None)

    assert "is no Validibot site" in launcher.check(Path("data/good.json")).error


def test_report_that_cannot_be_written_ends_with_code_2(
    environ: dict[str, str], alice: Api, people: Workflow, capsys: pytest.CaptureFixture[str]
) -> None:
    change = {"VALIDIBOT_FILES": "data/good.json", "VALIDIBOT_SARIF": "missing/found.sarif"}

    assert launch.main([], environ | change, ActionSite(alice)) == 2
    assert "missing/found.sarif cannot be written: No such file" in capsys.readouterr().err


def test_action_gives_each_input_as_a_variable() -> None:
    action = yaml.safe_load((ROOT / "action/action.yml").read_text())
    (step,) = action["runs"]["steps"]

    assert {f"${{{{ inputs.{name} }}}}" for name in action["inputs"]} == set(step["env"].values())
    assert "inputs." not in step["run"]
