"""Engines are found by being there."""

import subprocess
import sys

import pytest

from validibot.engines import ENGINES, EngineError, get_engine


def test_the_modules_with_an_engine_are_the_engines() -> None:
    assert list(ENGINES) == ["assertions", "fmu_probe", "json_schema", "xml_schema"]
    assert len(ENGINES) == 4


@pytest.mark.parametrize("name", ["base", "nothing", "../json_schema", ""])
def test_an_unknown_engine_is_refused_by_name(name: str) -> None:
    with pytest.raises(
        EngineError, match=r"there are assertions, fmu_probe, json_schema, xml_schema"
    ):
        get_engine(name)


def test_an_engine_is_imported_when_it_is_first_used() -> None:
    script = "import sys, validibot.engines; sys.exit('lxml' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
