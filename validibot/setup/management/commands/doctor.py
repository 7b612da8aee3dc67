"""Command `doctor`: check a deployment and say what to do."""

import sys
from dataclasses import asdict
from typing import Any

from validibot.core.commands import ReportingCommand
from validibot.setup.doctor import check_deployment

_MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


class Command(ReportingCommand):
    help = (
        "Check settings, database, migrations, clock, storage, queue, mail and periodic work, and say"
        " what to do. Exit code 0: nothing failed; 1: a check failed."
    )
    json_help = "print one line of JSON: `ok`, and name, state, detail and action of each check"
    # They are one of the checks, and a wrong setting must not end the command.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(check_deployment())
        failed = [each for each in found if each.state == "failed"]
        lines = []
        for each in found:
            lines.append(f"{_MARKS[each.state]}  {each.name}: {each.detail}")
            if each.action:
                lines.append(f"         → {each.action}")
        done = {"ok": not failed, "checks": [asdict(each) for each in found]}
        self.report(options, done, "\n".join(lines))
        if failed:
            sys.exit(1)
