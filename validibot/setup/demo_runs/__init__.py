"""Believable runs of a year for an organisation: their plan, and the statements that make their rows."""

from validibot.setup.demo_runs.fill import Filling, fill_runs
from validibot.setup.demo_runs.plan import SeedError, prepare

__all__ = ["Filling", "SeedError", "fill_runs", "prepare"]
