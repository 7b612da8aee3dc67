"""Execution backends, by alias in settings.EXECUTION_BACKENDS."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from validibot.runs.backends.base import ExecutionBackend

DEFAULT = "default"


def get_backend(alias: str = DEFAULT) -> ExecutionBackend:
    """Return the backend of an alias. Raises ImproperlyConfigured."""
    try:
        params: Mapping[str, Any] = settings.EXECUTION_BACKENDS[alias]
        backend: ExecutionBackend = import_string(params["BACKEND"])(alias, params)
    except (KeyError, ImportError, TypeError) as error:
        raise ImproperlyConfigured(f"EXECUTION_BACKENDS[{alias!r}]: {error!r}") from error
    return backend
