"""What may be in the way on this machine, each with what mends it."""

from devenv.cli.checks.engine import containers
from devenv.cli.checks.machine import clock, disk, energyplus, python
from devenv.cli.checks.stack import listening, state
from devenv.cli.checks.surroundings import certificates, credentials, proxy
from devenv.cli.context import Context
from devenv.stack.problems import Check

__all__ = ["Check", "energyplus", "every"]


def every(context: Context) -> list[Check]:
    return [
        python(),
        energyplus(),
        listening(context),
        disk(context),
        credentials(),
        containers(),
        proxy(),
        certificates(),
        clock(context),
        state(context),
    ]
