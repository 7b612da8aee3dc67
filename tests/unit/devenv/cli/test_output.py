"""Unit tests of output: streams, JSON, colours, tables, log lines."""

import json
from io import StringIO

import pytest

from devenv.cli.output import CliOutput, readable, table, without_make


def output(*, json: bool = False, colour: bool = False) -> CliOutput:
    return CliOutput(out=StringIO(), err=StringIO(), json=json, colour=colour)


def written(stream: object) -> str:
    assert isinstance(stream, StringIO)
    return stream.getvalue()


def test_results_go_to_stdout_and_messages_to_stderr() -> None:
    ours = output()

    ours.result({"a": 1}, "a is 1")
    ours.fail("no", hint="make up")

    assert written(ours.out) == "a is 1\n"
    assert written(ours.err) == "  ✗ no\n    Next: make up\n"


def test_json_option_prints_data() -> None:
    ours = output(json=True)

    ours.result({"a": 1}, "a is 1")

    assert written(ours.out) == '{\n  "a": 1\n}\n'


def test_log_label_is_coloured_on_request_only() -> None:
    plain, coloured = output(), output(colour=True)
    plain.log("web", "hello")
    coloured.log("web", "hello")

    assert written(plain.err) == "web      │ hello\n"
    assert written(coloured.err).startswith("\x1b[38;5;")


def test_text_is_neither_wrapped_nor_read_as_markup() -> None:
    ours = output()
    text = "[bold]x[/bold] :smile: " + "https://localhost/" * 200

    ours.say(text)

    assert written(ours.err) == f"{text}\n"


def test_table_aligns_cells() -> None:
    ours = output()
    ours.result({}, table([("a", "bc", ""), ("def", "g", "h")]))

    assert written(ours.out) == "  a     bc\n  def   g    h\n"


def lines(line: str) -> list[str]:
    return [text.plain for text in readable(line)]


def test_structured_line_becomes_message_and_fields() -> None:
    entry = {"severity": "INFO", "message": "GET / 200", "time": "…", "logger": "x", "run_id": "7"}

    assert lines(json.dumps(entry)) == ["GET / 200  run_id=7"]


def test_error_is_marked_and_followed_by_traceback() -> None:
    entry = {"severity": "ERROR", "message": "no", "exception": "Traceback\n  here"}

    assert lines(json.dumps(entry)) == ["ERROR no", "Traceback", "  here"]


@pytest.mark.parametrize(
    "line", ["", "LOG: ready", "{", "[1]", "{}", '{"message": ""}', '{"a": 1}', '{"a":' * 5000]
)
def test_unstructured_line_is_unchanged(line: str) -> None:
    assert lines(line) == [line]


@pytest.mark.parametrize(
    ("text", "worded"),
    [
        ("make up", "devenv up"),
        ("make logs S=web", "devenv logs web"),
        ("make up MODE=local", "devenv up --mode local"),
        (
            "make up RUNTIME=docker; make reset YES=1.",
            "devenv up --runtime docker; devenv reset --yes.",
        ),
        ("make run CMD='python manage.py shell'", "devenv run -- python manage.py shell"),
        ("make validators", "make validators"),
    ],
)
def test_commands_of_messages_work_without_makefile(text: str, worded: str) -> None:
    assert without_make(text) == worded
