"""Messages of the validator in its documentation."""

import re
from pathlib import Path

FOLDER = Path("validators/energyplus")
READING = (
    "checks",
    "design_days",
    "engine",
    "files",
    "model",
    "prepare",
    "text",
    "validate",
)


def test_docs_list_every_code_of_reading_a_model() -> None:
    sources = "".join((FOLDER / f"{name}.py").read_text() for name in READING)
    codes = set(re.findall(r'code="(ENERGYPLUS_[A-Z0-9_]+)"', sources))

    page = Path("docs/validators.md").read_text()

    assert {code for code in codes if f"| `{code}` |" not in page} == set()
