"""Comparison of docs/production.md with the required settings."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_production_page_names_every_required_setting() -> None:
    settings = ROOT / "config" / "settings"
    source = "".join((settings / f"{name}.py").read_text() for name in ("cloud", "production"))
    calls = re.findall(r"require\(([^)]*)\)", source)
    required = set(re.findall(r'"(\w+)"', " ".join(calls)))
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/production.md").read_text(), re.MULTILINE)

    assert len(required) > 10
    assert required <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}
