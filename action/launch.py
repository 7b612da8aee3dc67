#!/usr/bin/env python3
"""Launch runs of a workflow on files, for GitHub Actions, pre-commit and other pipelines.

It uses the standard library only, so a pipeline installs nothing. Exit code 0: all files pass; 1: a file
does not satisfy the workflow; 2: a file could not be checked.
"""

from __future__ import annotations  # pipelines have older versions of Python

import argparse
import json
import os
import re
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

# GitHub shows ten errors and ten warnings of a step; the summary and the SARIF file have more.
MAX_ANNOTATIONS = 50
MAX_SUMMARY_ROWS = 20
MAX_FINDINGS = 5000
_ATTEMPTS, _LONGEST_PAUSE = 5, 60.0  # of a request; seconds, whatever the site asks for
_LEVELS = {"ERROR": "error", "WARNING": "warning", "INFO": "notice"}
_EXIT_CODES = {"PASS": 0, "FAIL": 1, "ERROR": 2}
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_MARKUP = str.maketrans({character: f"&#{ord(character)};" for character in "\\`*_[]<>|#!&"})
_LOCAL = ("localhost", "127.0.0.1", "::1")
Answer = tuple[int, dict[str, str], bytes]
Send = Callable[[str, str, bytes, dict[str, str]], Answer]


class LaunchRefused(Exception):
    """A file cannot be checked; the text says why and what to do."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The API redirects nobody; a redirect would carry the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def send_by_http(url: str) -> Send:
    """Return a function that sends requests to the site at `url`. Raises LaunchRefused."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOCAL:
        raise LaunchRefused(f"The address {url!r} must begin with https://: the key is secret.")
    opener = urllib.request.build_opener(_NoRedirects)

    def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        address = url.rstrip("/") + path
        request = urllib.request.Request(address, body or None, headers, method=method)
        try:
            with opener.open(request, timeout=120) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    return send


@dataclass
class FileReport:
    """The result of a file's run, or `error` if there is none."""

    path: str
    result: str = "ERROR"
    error: str = ""
    run: str = ""
    url: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list)
    finding_count: int = 0


class Launcher:
    """Runs of one workflow at one site."""

    def __init__(
        self, options: argparse.Namespace, send: Send, *, sleep: Callable[[float], None]
    ) -> None:
        self.options = options
        self._send = send
        self._sleep = sleep
        self.sarif: list[dict[str, Any]] = []
        self._org = f"/api/v1/orgs/{quote(options.organisation, safe='')}/"

    def check(self, path: Path) -> FileReport:
        """Launch a run on a file and wait for its end."""
        report = FileReport(path.as_posix())
        try:
            run = self._wait(self._launch(path.name, _content(path)), report)
            report.result, report.error = run["result"], run["error"]
            report.finding_count = sum(step["finding_count"] for step in run["steps"])
            report.findings = list(self._findings(report.run))
            if self.options.sarif:
                self._add_sarif(report)
        except (OSError, HTTPException) as error:
            report.error = f"{self.options.url} cannot be reached: {error}"
        except LaunchRefused as error:
            report.error = str(error)
        except (LookupError, TypeError):  # the documents of another program
            report.error = f"{self.options.url} is no Validibot site, or one of another version."
        if report.error and report.result in ("PASS", "FAIL"):
            report.result = "ERROR"
        return report

    def _launch(self, name: str, content: bytes) -> dict[str, Any]:
        fields = {"metadata": json.dumps(dict(self.options.input))} if self.options.input else {}
        body, kind = _form(name, content, fields)
        place = f"{self._org}workflows/{quote(self.options.workflow, safe='')}/"
        place += f"versions/{self.options.version}/runs/" if self.options.version else "runs/"
        # A repeated request starts no second run.
        headers = {"Content-Type": kind, "Idempotency-Key": secrets.token_hex(16)}
        return self._ask("POST", place, body, headers)

    def _wait(self, run: dict[str, Any], report: FileReport) -> dict[str, Any]:
        """Return the run when it has ended. Raises LaunchRefused after the timeout."""
        site = self.options.url.rstrip("/")
        report.run, deadline = run["id"], time.monotonic() + self.options.timeout
        report.url = f"{site}/app/orgs/{quote(self.options.organisation)}/runs/{run['id']}/"
        pause = 1.0
        while run["state"] != "COMPLETED":
            if time.monotonic() >= deadline:
                raise LaunchRefused(
                    f"The run has not ended after {self.options.timeout} s; it goes on at"
                    f" {report.url}. Give a longer timeout."
                )
            self._sleep(pause)
            pause = min(pause * 1.5, 10.0)
            run = self._ask("GET", f"{self._org}runs/{report.run}/")
        return run

    def _findings(self, run: str) -> Iterator[dict[str, Any]]:
        count, path = 0, f"{self._org}runs/{run}/findings/?page_size=200"
        while path and count < MAX_FINDINGS:
            page = self._ask("GET", path)
            yield from page["results"]
            count, path = count + len(page["results"]), page["next"]

    def _add_sarif(self, report: FileReport) -> None:
        """Add a file's results to the one SARIF run; GitHub refuses several of one category.

        https://github.blog/changelog/2024-05-06-code-scanning-will-stop-combining-runs-from-a-single-upload/
        """
        document = self._ask("GET", f"{self._org}runs/{report.run}/export/sarif/")
        run: dict[str, Any] = document["runs"][0]
        run["artifacts"][0]["location"] = place = {"uri": quote(report.path)}
        for result in run["results"]:
            del result["ruleIndex"]  # the rules of other files are added
            for location in result["locations"]:
                location["physicalLocation"]["artifactLocation"] = place
        for whole in self.sarif:
            for name in ("artifacts", "invocations", "results"):
                whole[name] += run[name]
            rules = whole["tool"]["driver"]["rules"]
            rules += [rule for rule in run["tool"]["driver"]["rules"] if rule not in rules]
        self.sarif = self.sarif or [run]

    def _ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the JSON answer; a busy or unreachable site is asked again. Raises LaunchRefused."""
        sent = {"Authorization": f"Bearer {self.options.token}", "Accept": "*/*", **(headers or {})}
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                status, received, content = self._send(method, path, body, sent)
            except (OSError, HTTPException):
                if last:
                    raise
                self._sleep(2.0**attempt)
                continue
            if status in (429, 502, 503, 504) and not last:
                lower = {name.lower(): value for name, value in received.items()}
                pause = re.fullmatch(r"[0-9]+", lower.get("retry-after", ""))
                self._sleep(min(float(pause[0]), _LONGEST_PAUSE) if pause else 2.0**attempt)
                continue
            return _document(status, content)
        raise AssertionError("the last attempt answers or raises")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LaunchRefused(f"The file cannot be read: {error.strerror}.") from error


def _document(status: int, content: bytes) -> dict[str, Any]:
    """Return the document of an answer. Raises LaunchRefused with the text of a problem."""
    try:
        document: Any = json.loads(content)
    except ValueError:
        document = None
    if status < 300 and isinstance(document, dict):
        return document
    detail = document.get("detail") if isinstance(document, dict) else ""
    raise LaunchRefused(f"{detail or 'This is no Validibot site.'} (HTTP {status})")


def _form(name: str, content: bytes, fields: dict[str, str]) -> tuple[bytes, str]:
    """Return a form with a file, and its content type (RFC 7578)."""
    boundary = secrets.token_hex(16)
    file_name = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
    )
    body = b"".join([*parts, content, f"\r\n--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"


def workflow_commands(reports: Sequence[FileReport]) -> Iterator[str]:
    """Yield workflow commands of GitHub Actions, the worst findings first.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    found = [(report.path, each) for report in reports for each in report.findings]
    found.sort(key=lambda each: list(_LEVELS).index(each[1]["severity"]))
    for path, each in found[:MAX_ANNOTATIONS]:
        places = {"file": path, "line": each["line"], "col": each["column"], "title": each["code"]}
        given = ",".join(f"{k}={_property(str(v))}" for k, v in places.items() if v)
        message = f"{each['message']} [{each['path']}]" if each["path"] else each["message"]
        yield f"::{_LEVELS[each['severity']]} {given}::{_data(message)}"
    for report in reports:
        if report.error:
            yield f"::error file={_property(report.path)}::{_data(report.error)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def step_summary(reports: Sequence[FileReport]) -> str:
    """Return the summary of a step in Markdown."""
    lines = ["### Validibot", "", "| file | result | findings |", "|---|---|---|"]
    for each in reports:
        result = f"[{each.result}]({each.url})" if each.url else each.result
        lines.append(f"| {_cell(each.path)} | {result} | {each.finding_count:,} |")
    for each in reports:
        if each.error:
            lines += ["", f"{_cell(each.path)}: {_cell(each.error)}"]
        if each.findings:
            lines += ["", f"#### {_cell(each.path)}", "", "| severity | place | message |"]
            lines += ["|---|---|---|", *map(_row, each.findings[:MAX_SUMMARY_ROWS])]
            if each.finding_count > MAX_SUMMARY_ROWS:
                lines += ["", f"{each.finding_count - MAX_SUMMARY_ROWS:,} more: {each.url}"]
    return "\n".join([*lines, ""])


def _row(finding: dict[str, Any]) -> str:
    place = f"line {finding['line']}" if finding["line"] else finding["path"]
    return f"| {finding['severity']} | {_cell(place)} | {_cell(finding['message'])} |"


def _cell(text: str) -> str:
    """Return text for a cell of a table: on one line, without markup of its own."""
    return " ".join(text.split())[:500].translate(_MARKUP)


def log_lines(reports: Sequence[FileReport]) -> Iterator[str]:
    """Yield the findings as linters write them."""
    for report in reports:
        for each in report.findings:
            place = ":".join(str(v) for v in (report.path, each["line"], each["column"]) if v)
            text = f"{place}: {each['severity'].lower()} {each['code']} {each['message']}"
            yield _printable(f"{text} [{each['path']}]" if each["path"] else text)
        if report.error:
            yield _printable(f"{report.path}: {report.error}")
        yield _printable(f"{report.path}: {report.result} {report.url}")


def _printable(text: str) -> str:
    """Return one line without GitHub's commands: `::` at the beginning, and the older `##[` anywhere."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line.replace("##[", "## [")
    return line.replace("::", ": :") if line.startswith("::") else line


def worst(reports: Sequence[FileReport]) -> str:
    """Return PASS, FAIL or ERROR, the worst result of all files."""
    results = {each.result for each in reports}
    return max(results, key=list(_EXIT_CODES).index, default="PASS")


def write_reports(reports: list[FileReport], launcher: Launcher, environ: dict[str, str]) -> None:
    """Print the findings, and write the files that options and GitHub Actions ask for."""
    print(*log_lines(reports), sep="\n")
    if place := launcher.options.sarif:
        document = {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": launcher.sarif}
        Path(place).write_text(json.dumps(document, indent=1), encoding="utf-8")
    if environ.get("GITHUB_ACTIONS") == "true":
        print(*workflow_commands(reports), sep="\n")
    if place := environ.get("GITHUB_STEP_SUMMARY"):
        _append(place, step_summary(reports))
    if place := environ.get("GITHUB_OUTPUT"):
        listed = [{"file": each.path, "result": each.result, "url": each.url} for each in reports]
        _append(place, f"result={worst(reports)}\nruns={json.dumps(listed)}\n")


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)


def read_options(arguments: Sequence[str], environ: dict[str, str]) -> argparse.Namespace:
    """Return the options of the command line; variables stand in for those that are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE")
    for name, variable, text in (
        ("url", "API_URL", "address of the site"),
        ("organisation", "ORG", "the organisation's slug"),
        ("workflow", "WORKFLOW", "the workflow's slug"),
        ("version", "VERSION", "a version of the workflow"),
        ("sarif", "SARIF", "path of a SARIF file to write"),
        ("timeout", "TIMEOUT", "seconds to wait for the end of each run"),
    ):
        given = environ.get(f"VALIDIBOT_{variable}", "")
        parser.add_argument(f"--{name}", default=given, help=f"{text} (VALIDIBOT_{variable})")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    options.token = environ.get("VALIDIBOT_TOKEN", "")  # as an argument, every process would see it
    listed = environ.get("VALIDIBOT_FILES", "")
    options.files = list(_paths([*options.files, *listed.splitlines()]))
    options.input = [*options.input, *environ.get("VALIDIBOT_INPUTS", "").splitlines()]
    _check_options(parser, options)
    return options


def _check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with exit code 2 and a message if an option is missing or has a wrong form."""
    missing = [name for name in ("url", "organisation", "workflow") if not getattr(options, name)]
    if missing:
        parser.error(f"--{missing[0]} is missing.")
    if not options.token:
        parser.error("VALIDIBOT_TOKEN is empty. Set it to an API key with the scopes read, launch.")
    if not options.files:
        parser.error("No file was named, or no path matches the patterns.")
    options.timeout = options.timeout or "1800"
    for name in ("timeout", "version"):
        value = getattr(options, name)
        if value and not (value.isascii() and value.isdigit() and int(value[:9]) > 0):
            parser.error(f"--{name} is {value!r}; it must be a whole number above 0.")
    options.timeout = int(options.timeout)
    pairs = [each.strip().partition("=") for each in options.input if each.strip()]
    for name, equals, value in pairs:
        if not (name and equals):
            parser.error(f"--input {name + value!r} is not NAME=VALUE.")
    options.input = {name: value for name, _, value in pairs}


def _paths(patterns: Sequence[str]) -> Iterator[Path]:
    """Yield the paths that the patterns name, each once; a path that does not exist is kept."""
    known = set()
    for pattern in filter(None, (each.strip() for each in patterns)):
        path = Path(pattern)
        is_pattern = any(c in pattern for c in "*?[") and not path.exists()
        base = Path(path.anchor) if path.is_absolute() else Path()
        within = str(path.relative_to(base)) if path.is_absolute() else pattern
        for each in sorted(base.glob(within)) if is_pattern else [path]:
            if each not in known and not each.is_dir():
                known.add(each)
                yield each


def main(arguments: Sequence[str], environ: dict[str, str], send: Send | None = None) -> int:
    """Check the files and return the exit code."""
    options = read_options(arguments, environ)
    try:
        launcher = Launcher(options, send or send_by_http(options.url), sleep=time.sleep)
    except LaunchRefused as error:
        print(error, file=sys.stderr)
        return 2
    reports = [launcher.check(path) for path in options.files]
    try:
        write_reports(reports, launcher, environ)
    except OSError as error:
        print(f"{error.filename} cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return _EXIT_CODES[worst(reports)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
