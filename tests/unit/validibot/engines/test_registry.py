"""The registry of engines: discovery by module, and import on demand."""

import subprocess
import sys

import pytest

from validibot.engines import ENGINES, EngineError, get_engine


def test_engines_are_modules_that_define_engine() -> None:
    assert list(ENGINES) == [
        "ai_review",
        "assertions",
        "basic",
        "fmu_probe",
        "json_schema",
        "tabular",
        "xml_schema",
        "yaml_schema",
    ]
    assert len(ENGINES) == 8


@pytest.mark.parametrize("name", ["base", "nothing", "../json_schema", ""])
def test_unknown_engine_error_lists_engines(name: str) -> None:
    with pytest.raises(
        EngineError,
        match=r"The engines are ai_review, assertions, basic, fmu_probe, json_schema, tabular, xml_schema, yaml_schema",
    ):
        get_engine(name)


def test_engine_is_imported_at_first_use() -> None:
    script = "import sys, validibot.engines; sys.exit('lxml' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
