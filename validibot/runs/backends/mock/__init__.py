"""Validators that run nothing: they answer from recordings, or misbehave as a scenario says.

The envelope is read, artifacts and output are written and the callback is posted as a validator
would: everything but the validator itself is the real thing.
"""

from validibot.runs.backends.mock.backend import MockBackend

__all__ = ["MockBackend"]
