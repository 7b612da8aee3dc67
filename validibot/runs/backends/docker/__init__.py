"""Validators as containers of a Docker engine on this machine."""

from validibot.runs.backends.docker.backend import DockerBackend

__all__ = ["DockerBackend"]
