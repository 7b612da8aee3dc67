"""Management commands that programs call, too."""

import pytest
from django.core.management import load_command_class

COMMANDS = {
    "validibot.runs": [
        "export_run",
        "purge",
        "reconcile",
        "runvalidation",
        "verify_evidence",
    ],
    "validibot.setup": ["doctor", "seed_demo", "setup_all", "sync_validators"],
    "validibot.tracking": ["export_events"],
}


@pytest.mark.parametrize(
    ("app", "name"), [(app, name) for app, names in COMMANDS.items() for name in names]
)
def test_command_prints_json_if_asked(app: str, name: str) -> None:
    parser = load_command_class(app, name).create_parser("manage.py", name)

    assert "--json" in parser.format_help()
