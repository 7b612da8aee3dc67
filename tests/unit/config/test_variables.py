"""The sheet of variables: complete, and made without any of them."""

import json
import re
from typing import Any

import pytest

from config.env import BASE_DIR
from config.env_files import FOLDER, KINDS
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


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_committed_template_is_current(kind: str) -> None:
    done = forked.python("-m", "config.env_files", kind, environ={})
    done.check_returncode()

    written = (FOLDER / f"{kind}.env").read_text()
    assert written == done.stdout, "Run: python -m config.env_files --write"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_settings_accept_a_template_with_all_its_defaults(kind: str) -> None:
    text = (FOLDER / f"{kind}.env").read_text().replace("/app/", f"{BASE_DIR}/")
    defaults = dict(re.findall(r"^#([A-Z_]+)=(.+)$", text, re.MULTILINE))
    needed = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    elsewhere = dict.fromkeys(re.findall(r"^# ([A-Z_]+): set by", text, re.MULTILINE), "")
    told = defaults | {name: value or "x" for name, value in (elsewhere | needed).items()}
    told |= {
        "DATABASE_URL": "postgres://u:p@h/n",
        "APP_ROLE": "web",
        "CUSTOM_VALIDATOR_SECRET_ACCOUNTS": "12=x",
        "SITE_URL": "https://x.example",
    }
    settings = KINDS[kind].settings
    done = forked.python("-c", f"import config.settings.{settings}", environ=told)

    assert done.returncode == 0, done.stderr
