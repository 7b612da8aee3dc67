"""Comparison of the page about mock mode with the scenarios."""

from pathlib import Path

from tests.house.test_docs import _column
from validibot.runs.backends.mock.plays import AT_ONCE, PLAYS
from validibot.workflows.scenarios import CATALOGUE, MAX_CHARACTERS

PAGE = "modes/mock.md"


def test_mock_page_lists_every_scenario() -> None:
    described = _column(PAGE, table="scenario", column="scenario")

    assert described == {kind.form for kind in CATALOGUE.values()}


def test_every_scenario_can_be_played_and_stored() -> None:
    assert list(PLAYS) == list(CATALOGUE)
    assert max(len(name) + len("(3599.99)") for name in CATALOGUE) <= MAX_CHARACTERS


def test_mock_diagram_names_the_immediate_scenarios() -> None:
    page = Path(__file__).parents[2].joinpath("docs", PAGE).read_text()

    assert f"alt {', '.join(name for name in PLAYS if name in AT_ONCE)}\n" in page


def test_mock_page_has_the_default_parameters() -> None:
    page = Path(__file__).parents[2].joinpath("docs", PAGE).read_text()
    lines = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}

    for kind in CATALOGUE.values():
        if kind.parameter and kind.parameter.default:
            number = f"{kind.parameter.default:g}"
            assert f"({number})" in lines[kind.form] or f"alone: {number}" in lines[kind.form]
