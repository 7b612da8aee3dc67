"""Container steps: attempt, files, envelope, execution."""

from validibot.runs.launch.attempt import launch

__all__ = ["launch"]
