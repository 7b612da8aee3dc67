"""Unit tests of printed variables."""

import subprocess

import pytest

from devenv.cli.run import formatted

VALUES = ["plain", "", "a b", "it's", 'say "hi"', "cost $HOME", "two\nlines", "back\\slash"]


@pytest.mark.parametrize("value", VALUES)
def test_shell_lines_are_read_back_by_a_shell(value: str) -> None:
    script = formatted({"NAME": value}, "shell") + '\nprintf %s "$NAME"'

    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("a b", "'a b'"),
        ("cost $HOME", "'cost $HOME'"),
        ("it's $5", '"it\'s \\$5"'),
        ("two\nlines", '"two\\nlines"'),
    ],
)
def test_dotenv_values_are_quoted_where_needed(value: str, text: str) -> None:
    assert formatted({"NAME": value}, "dotenv") == f"NAME={text}"
