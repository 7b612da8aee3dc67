"""Container steps: attempt, files, envelope, execution."""

from validibot.runs.launch.launch import launch

__all__ = ["launch"]
