"""Execution backend for Modal.

Each validator is a function of a deployed app (`python -m deploy modal`); an attempt is one call of it,
with the variables that name its files and the time limit of the manifest. A function has neither an
account nor a metadata server of Google. The call gets two tokens: a capability for its attempt's folder,
and an ID token with which it calls the worker.

Modal does not find a call by its arguments. Calls that may work on an attempt are told apart by a claim
in the attempt's folder (`validators.sdk.storage.claim`), which the validator makes before it begins.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any, ClassVar

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from pydantic import Field

from validators.sdk.storage.claim import WITHDRAWN, claim
from validibot.core.storage import StorageError, get_storage
from validibot.core.storage.capability import CapabilityRefused, mint, mint_id_token
from validibot.runs.backends.base import (
    ENDED,
    BackendOptions,
    ExecutionBackend,
    ExecutionState,
    Launch,
    LaunchError,
    LaunchRequest,
    Phase,
    StateUnavailable,
)
from validibot.runs.backends.confined import confined_environment

# Errors of a lookup or a call that Modal would repeat. ConflictError is a kind of InvalidError, but may
# pass; after any other error the call may have been accepted.
# https://modal.com/docs/sdk/py/latest/exception
_REFUSALS = (
    "AuthError",
    "InvalidError",
    "NotFoundError",
    "PermissionDeniedError",
    "RequestSizeError",
    "UnimplementedError",
    "VersionError",
)
# Errors by which FunctionCall.get tells how a call ended, and not that it cannot tell.
_ENDS = (
    "DeserializationError",
    "ExecutionError",
    "InternalFailure",
    "NotFoundError",
    "OutputExpiredError",
    "RemoteError",
)


class ModalOptions(BackendOptions):
    """OPTIONS of the Modal backend: the app, its environment, and the account that calls the worker."""

    app: Annotated[str, Field(min_length=1)]
    environment: str = ""
    caller_account: Annotated[str, Field(min_length=1)]


class ModalBackend(ExecutionBackend):
    """Execution backend for functions of a deployed Modal app."""

    options_class: ClassVar[type[BackendOptions]] = ModalOptions
    options: ModalOptions
    confines = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        """Parse the options. Raises ImproperlyConfigured, also where the package is missing."""
        super().__init__(alias, params)
        try:
            import modal  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ImproperlyConfigured(
                f"{self.where}: the package {error.name} is missing, which the extra `modal` brings. Run "
                "`pip install --require-hashes -r requirements/modal.txt`, or build the image with "
                "`make image EXTRA=modal`."
            ) from error
        self._modal: Any = modal

    def launch(self, request: LaunchRequest) -> Launch:
        name = f"{self.options.app}/{request.job}"
        environment = self._environment(request, name)
        with self._refused(name, not_accepted=True):
            function = self._function(request.job)
            function.hydrate()
        with self._refused(name, not_accepted=False):
            call = function.with_options(timeout=request.timeout_seconds).spawn(environment)
        return Launch(execution=self._claimed(request, call))

    def state(self, execution: str) -> ExecutionState:
        exception = self._modal.exception
        phase = Phase.FAILED
        try:
            code = self._call(execution).get(timeout=0)
        except exception.FunctionTimeoutError as error:
            phase, message = Phase.TIMED_OUT, str(error)
        except self._errors(_ENDS) as error:
            message = str(error) or type(error).__name__
        except TimeoutError:  # Python's own: there is no result yet
            phase, message = Phase.RUNNING, ""
        except (exception.Error, OSError) as error:
            raise StateUnavailable(f"{execution}: {error}") from error
        except Exception as error:  # noqa: BLE001 - what the function raised comes as it was, of any class
            message = f"{type(error).__name__}: {error}"
        else:
            message = f"The validator ended with exit code {code}." if code else ""
            phase = Phase.FAILED if code else Phase.SUCCEEDED
        return ExecutionState(phase=phase, execution=execution, message=message)

    def find(self, *, job: str, input_uri: str) -> ExecutionState:
        """Return the state of the call that has the attempt's claim; withdraw the launch without one.

        A withdrawn launch is certainly none: a call that begins later finds the claim taken. Raises
        StateUnavailable.
        """
        try:
            execution = _claim(input_uri, WITHDRAWN)
        except StorageError as error:
            raise StateUnavailable(f"{input_uri}: {error}") from error
        if execution == WITHDRAWN:
            return ExecutionState(phase=Phase.ABSENT)
        return self.state(execution)

    def cancel(self, execution: str) -> bool:
        if self.state(execution).phase in ENDED:
            return False
        try:
            self._call(execution).cancel(terminate_containers=True)
        except (self._modal.exception.Error, OSError) as error:
            raise StateUnavailable(f"{execution}: {error}") from error
        return True

    def check_job(self, job: str) -> None:
        try:
            self._function(job).hydrate()
        except (self._modal.exception.Error, OSError) as error:
            raise StateUnavailable(
                f"{self.options.app}/{job}: {error}. Publish it with `python -m deploy modal STAGE`."
            ) from error

    def check(self) -> Sequence[CheckMessage]:
        if settings.CAPABILITY_ACCOUNT:
            return []
        message = f"{self.where}: CAPABILITY_ACCOUNT is empty, so validators would get no files."
        hint = "Modal reads files at gs:// only, through a capability (docs/modes/modal.md)."
        return [Error(message, hint=hint, id="validibot.runs.E003")]

    def _function(self, job: str) -> Any:
        return self._modal.Function.from_name(
            self.options.app, job, environment_name=self.options.environment or None
        )

    def _call(self, execution: str) -> Any:
        return self._modal.FunctionCall.from_id(execution)

    def _environment(self, request: LaunchRequest, name: str) -> dict[str, str]:
        """Return the variables of the validator. Raises LaunchError."""
        try:
            capability = mint(request.input_uri.rpartition("/")[0])
            token = mint_id_token(self.options.caller_account, settings.WORKER_URL)
        except CapabilityRefused as error:
            raise LaunchError(f"{name}: {error}", permanent=True) from error
        except StorageError as error:
            raise LaunchError(f"{name}: {error}", not_accepted=True) from error
        return confined_environment(request, capability) | {"VALIDIBOT_WORKER_ID_TOKEN": token}

    def _claimed(self, request: LaunchRequest, call: Any) -> str:
        """Claim the attempt for a call; return whose it is.

        The client repeats a request that had no answer, so another call of this launch may have it. A
        call without the claim ends by itself; to cancel it is only sooner. Raises LaunchError.
        """
        try:
            holder = _claim(request.input_uri, call.object_id)
        except StorageError as error:
            raise LaunchError(f"{call.object_id} has no claim yet: {error}") from error
        if holder != call.object_id:
            with suppress(self._modal.exception.Error, OSError):
                call.cancel(terminate_containers=True)
        if holder == WITHDRAWN:
            raise LaunchError(f"{call.object_id}: the launch was withdrawn", not_accepted=True)
        return holder

    @contextmanager
    def _refused(self, name: str, *, not_accepted: bool) -> Iterator[None]:
        """Raise LaunchError for an error of Modal's client."""
        exception = self._modal.exception
        try:
            yield
        except exception.ResourceExhaustedError as error:
            raise LaunchError(f"{name}: {error}", not_accepted=True) from error
        except self._errors(_REFUSALS) as error:
            passes = isinstance(error, exception.ConflictError)
            raise LaunchError(
                f"{name}: {error}", permanent=not passes, not_accepted=not_accepted
            ) from error
        except (exception.Error, OSError) as error:
            raise LaunchError(f"{name}: {error}", not_accepted=not_accepted) from error

    def _errors(self, names: Sequence[str]) -> tuple[type[Exception], ...]:
        return tuple(getattr(self._modal.exception, name) for name in names)


def _claim(input_uri: str, execution: str) -> str:
    """Claim the attempt with this envelope; return whose it is. Raises StorageError."""
    return claim(get_storage(input_uri), input_uri.rpartition("/")[0], execution)
