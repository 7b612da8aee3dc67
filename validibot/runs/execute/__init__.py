"""Walk the steps of a run: one worker at a time, each step once."""

from validibot.runs.execute.lease import Busy
from validibot.runs.execute.walk import execute

__all__ = ["Busy", "execute"]
