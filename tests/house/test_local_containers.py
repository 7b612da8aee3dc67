"""The page about local containers says what the code does."""

from dataclasses import fields

from tests.house.test_docs_tell_the_truth import _column
from validibot.runs.backends.docker.options import Options


def test_the_options_of_containers_are_those_that_are_read() -> None:
    described = _column("modes/local-containers.md", table="option", column="option")

    assert described == {option.name for option in fields(Options)}
