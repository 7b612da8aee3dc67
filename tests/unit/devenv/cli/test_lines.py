"""Log lines as people read them."""

import json

import pytest

from devenv.cli.lines import readable


def plain(text: str, name: str) -> str:
    return text


def test_a_structured_line_becomes_its_message_and_fields() -> None:
    entry = {"severity": "INFO", "message": "GET / 200", "time": "…", "logger": "x", "run_id": "7"}

    assert readable(json.dumps(entry), plain) == ["GET / 200  run_id=7"]


def test_what_is_wrong_is_marked_and_its_traceback_follows() -> None:
    entry = {"severity": "ERROR", "message": "no", "exception": "Traceback\n  here"}

    assert readable(json.dumps(entry), plain) == ["ERROR no", "Traceback", "  here"]


@pytest.mark.parametrize(
    "line", ["", "LOG: ready", "{", "[1]", "{}", '{"message": ""}', '{"a": 1}', '{"a":' * 5000]
)
def test_any_other_line_stays_as_it_came(line: str) -> None:
    assert readable(line, plain) == [line]
