"""Execution backends, by alias in settings.EXECUTION_BACKENDS, and the system checks of that setting."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info
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


def check_backends(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Return a message for each fault that would make launches fail."""
    aliases = list(settings.EXECUTION_BACKENDS)
    if DEFAULT not in aliases:
        aliases.insert(0, DEFAULT)
    return [message for alias in aliases for message in _check(alias)]


def check_isolation(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Return a message for each backend that runs submitted models as the worker's user."""
    return [
        Info(
            f"EXECUTION_BACKENDS[{alias!r}]: models that people send run as the user of the worker"
            " and may read and change whatever it may.",
            hint="Let in only people whom you would trust with a shell, or run containers.",
            id="validibot.runs.I001",
        )
        for alias in settings.EXECUTION_BACKENDS
        if get_backend(alias).shares_our_user
    ]


def _check(alias: str) -> Sequence[CheckMessage]:
    try:
        backend = get_backend(alias)
    except ImproperlyConfigured as error:
        return [Error(str(error), id="validibot.runs.E001")]
    if backend.local and not settings.DEBUG and not backend.options.allow_without_debug:
        return [
            Error(
                f"EXECUTION_BACKENDS[{alias!r}]: {type(backend).__name__} is for development.",
                hint="Use CloudRunBackend, or set OPTIONS['allow_without_debug'] to use it nevertheless.",
                id="validibot.runs.E002",
            )
        ]
    return backend.check()
