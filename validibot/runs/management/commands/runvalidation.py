"""Command `runvalidation`: check files with a workflow file, without a server or a database."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from validibot.runs.exports import junit_of, sarif_of
from validibot.runs.models import Finding
from validibot.runs.offline import FileRefused, OfflineRun, read_plan, validate
from validibot.runs.verification import printable
from validibot.workflows.document import ImportInvalid

_STRUCTURED = {"sarif": sarif_of, "junit": junit_of}


class Command(BaseCommand):
    help = (
        "Check files with a workflow file (.yaml, .zip), as its site would. Exit code 0: all pass;"
        " 1: a file does not satisfy the workflow; 2: a file could not be checked."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("-w", "--workflow", type=Path, required=True, metavar="WORKFLOW")
        parser.add_argument(
            "--input",
            action="append",
            default=[],
            type=_pair,
            metavar="NAME=VALUE",
            help="an input of the workflow; repeat it for more",
        )
        parser.add_argument("--format", choices=["text", "json", *_STRUCTURED], default="text")
        parser.add_argument("--json", action="store_true", help="the same as --format json")

    def handle(self, *args: Any, **options: Any) -> None:
        done = _validate(options["workflow"], options["files"], dict(options["input"]))
        for path, each in done.items():
            # Programs that read the report find the file by its path.
            each.run.submission.filename = path.as_posix()
        wanted = "json" if options["json"] else options["format"]
        if wanted == "json":
            self.stdout.write(json.dumps(_as_json(done), ensure_ascii=False))
        elif wanted == "text":
            self.stdout.write("\n".join(_lines(done)))
        else:
            runs = {each.run: each.steps for each in done.values()}
            self.stdout.write(_STRUCTURED[wanted](runs).decode())
        results = {each.run.result for each in done.values()}
        if results != {"PASS"}:
            sys.exit(1 if results <= {"PASS", "FAIL"} else 2)


def _validate(
    workflow: Path, files: Sequence[Path], inputs: Mapping[str, str]
) -> dict[Path, OfflineRun]:
    """Validate each file. Raises CommandError, with the exit code 2."""
    try:
        plan = read_plan(workflow)
        return {path: validate(plan, path, inputs) for path in files}
    except ImportInvalid as error:
        lines = "\n".join(f"{workflow}: {each}" for each in error.problems)
        raise CommandError(lines, returncode=2) from None
    except FileRefused as error:
        raise CommandError(str(error), returncode=2) from None
    except OSError as error:
        message = f"{error.filename} cannot be read: {error.strerror}."
        raise CommandError(message, returncode=2) from None


def _lines(done: Mapping[Path, OfflineRun]) -> Iterator[str]:
    """Yield the findings as linters write them: `path:line:column: severity rule message`."""
    for path, each in done.items():
        for step, findings in each.steps:
            if step.error:
                yield printable(f"{path}: error {step.name}: {step.error}")
            for found in findings:
                yield _line(path, found)
        yield printable(f"{path}: {each.run.result}")


def _line(path: Path, found: Finding) -> str:
    place = ":".join(str(each) for each in (path, found.line, found.column) if each)
    at = f" [{found.path}]" if found.path else ""
    message = " ".join(found.message.split())
    code = found.code or "finding"
    return printable(f"{place}: {found.severity.lower()} {code} {message}{at}")


def _as_json(done: Mapping[Path, OfflineRun]) -> dict[str, Any]:
    names = ("severity", "code", "message", "path", "line", "column")
    files = [
        {
            "file": path.as_posix(),
            "result": each.run.result,
            "error": each.run.error,
            "steps": [
                {"order": step.order, "name": step.name, "status": step.status}
                for step, _ in each.steps
            ],
            "findings": [
                {"step": step.order, **{name: getattr(found, name) for name in names}}
                for step, findings in each.steps
                for found in findings
            ],
        }
        for path, each in done.items()
    ]
    return {"files": files}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE.")
    return name, value
