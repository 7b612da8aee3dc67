"""Mocked validators: everything but the validation itself is real."""

from validibot.runs.backends.mock.backend import MockBackend

__all__ = ["MockBackend"]
