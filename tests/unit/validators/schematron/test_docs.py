"""Messages of the Schematron validator in its documentation."""

import re
from pathlib import Path


def test_docs_list_every_code_of_schematron() -> None:
    sources = "".join(path.read_text() for path in Path("validators/schematron").glob("*.py"))
    codes = set(re.findall(r'code="(SCHEMATRON_[A-Z_]+)"', sources))

    page = Path("docs/validators.md").read_text()

    assert {code for code in codes if f"`{code}`" not in page} == set()
