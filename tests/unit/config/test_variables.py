"""The sheet of variables: complete, and made without any of them."""

import json
from typing import Any

import pytest

from config.variables import BEGIN, END, insert
from tests import forked


def sheet(settings: str, **told: str) -> dict[str, dict[str, Any]]:
    done = forked.python("-m", "config.variables", settings, "--json", environ=told)
    done.check_returncode()
    return {each["name"]: each for each in json.loads(done.stdout)}


def test_it_says_type_default_and_need_of_what_the_settings_read() -> None:
    found = sheet("host")

    assert found["DATABASE_POOL"]["kind"] == "number"
    assert found["DATABASE_POOL"]["default"] == 20
    assert found["SITE_URL"]["required"]
    assert found["EXECUTION_BACKEND"]["kind"] == "one of docker, subprocess"
    assert (found["ALLOW_SUBPROCESS"]["kind"], found["LOG_FORMAT"]["default"]) == ("1 or 0", "json")


def test_it_does_not_depend_on_what_is_set() -> None:
    told = {"EXECUTION_BACKEND": "subprocess", "DATABASE_POOL": "3", "POSTMARK_SERVER_TOKEN": "t"}

    assert sheet("host", **told) == sheet("host")


@pytest.mark.parametrize("settings", ["host", "production"])
def test_every_variable_of_a_deployment_has_a_sentence(settings: str) -> None:
    assert [name for name, each in sheet(settings).items() if not each["meaning"]] == []


def test_table_between_marks_is_replaced() -> None:
    begin = BEGIN.format(name="host")
    page = f"before\n{begin}\nold\n{END}\nafter"

    assert insert(page, "host", "new") == f"before\n{begin}\n\nnew\n\n{END}\nafter"


def test_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="The page lacks the lines"):
        insert("nothing", "host", "new")
