"""Life of a validator process: read the envelope, verify inputs, validate, store, call back.

Exit codes: 0 the output is stored and the callback delivered; 1 the output says `failed_runtime`, or
the callback was not accepted; 2 there is no input envelope; 3 the output could not be stored; 4 the
attempt belongs to another execution, or its launch was withdrawn; 143 SIGTERM stopped the validator before it had an answer. Then no output is stored: only the platform
knows whether the validator exceeded its time, was cancelled or lost its machine. A second execution
of a finished attempt only repeats the callback, so the platform may retry.
"""

import logging
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, time
from types import FrameType

from requests import Session
from validibot_shared.validations.envelopes import (
    ValidationInputEnvelope,
    ValidationOutputEnvelope,
    ValidationStatus,
    ValidationTiming,
)

from validators.sdk.attempt import ClaimLost, EnvelopeUnusable, ExecutionAttempt
from validators.sdk.environment import EnvironmentInvalid, ValidatorEnvironment, read_environment
from validators.sdk.errors import report_fatal
from validators.sdk.storage import ObjectExists, StorageError
from validators.sdk.validation import (
    ContainerValidator,
    Failure,
    ValidationRequest,
    ValidationResult,
    failed,
)
from validators.sdk.worker import Capability, Headers, NotAccepted, authorize, post

log = logging.getLogger(__name__)

DONE, FAILED, NOTHING_TO_ANSWER, NOT_STORED, NOT_OURS = range(5)
STOPPED = 128 + signal.SIGTERM

_THREADS = 8
_MARGIN_SECONDS = 15.0
"""Part of the attempt's time that is kept for storing the output and calling back."""


class Stopped(BaseException):
    """SIGTERM arrived. Not an Exception, so that no library catches it."""


def main[Envelope: ValidationInputEnvelope](
    validator: ContainerValidator[Envelope], arguments: list[str] | None = None
) -> int:
    """Run a validator on the attempt that the environment names; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        environment = read_environment(sys.argv[1:] if arguments is None else arguments)
        grant = environment.grant
        capability = Capability(grant, environment) if grant else None
        attempt = ExecutionAttempt(validator, environment.input_uri, capability=capability)
    except (EnvironmentInvalid, EnvelopeUnusable) as error:
        log.error("%s", error)  # noqa: TRY400 - the text is the whole story
        return NOTHING_TO_ANSWER
    early = _authorize_early(attempt, environment)
    try:
        if environment.execution:
            attempt.claim(environment.execution)
        output = attempt.stored_output() or _answer(validator, attempt, environment=environment)
    except StorageError as error:
        log.error("the output could not be stored: %s", error)  # noqa: TRY400
        return NOT_STORED
    except ClaimLost as error:
        log.warning("%s", error)
        return NOT_OURS
    except Stopped:
        log.warning("stopped by SIGTERM")
        return STOPPED
    return _tell(attempt, output, environment=environment, early=early)


def _authorize_early[Envelope: ValidationInputEnvelope](
    attempt: ExecutionAttempt[Envelope], environment: ValidatorEnvironment
) -> Future[Headers] | None:
    """Fetch the ID token for the callback while the validator works, which takes less than its hour."""
    url = attempt.envelope.context.callback_url
    if url is None or attempt.envelope.context.skip_callback:
        return None
    pool = ThreadPoolExecutor(1)
    future = pool.submit(authorize, Session(), str(url), environment)
    pool.shutdown(wait=False)
    return future


def _answer[Envelope: ValidationInputEnvelope](
    validator: ContainerValidator[Envelope],
    attempt: ExecutionAttempt[Envelope],
    *,
    environment: ValidatorEnvironment,
) -> ValidationOutputEnvelope:
    started = _now()
    with (
        _sigterm_restored(),
        TemporaryDirectory(prefix="validibot-", dir=environment.scratch_root) as scratch,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        result = _judge(
            validator, attempt, environment=environment, folder=Path(scratch), pool=pool
        )
        timing = ValidationTiming(started_at=started, finished_at=_now())
        try:
            return attempt.publish(result, timing=timing, pool=pool)
        except ObjectExists:
            # Another execution of this attempt was faster: its output counts.
            output = attempt.stored_output()
            if output is None:
                raise
            return output


def _judge[Envelope: ValidationInputEnvelope](
    validator: ContainerValidator[Envelope],
    attempt: ExecutionAttempt[Envelope],
    *,
    environment: ValidatorEnvironment,
    folder: Path,
    pool: Executor,
) -> ValidationResult:
    """Return the validator's result; errors become one too. Raises Stopped."""
    budget = attempt.envelope.context.timeout_seconds
    deadline = monotonic() + budget - min(_MARGIN_SECONDS, budget / 10)
    try:
        with _stoppable():
            if environment.output_uri not in {None, attempt.output_uri}:
                text = "VALIDIBOT_OUTPUT_URI differs from the envelope's expected_output_uri"
                return failed(text, code="OUTPUT_REDIRECTED")
            files, further_files = attempt.fetch_files(folder / "inputs", pool=pool)
            work = folder / "work"
            work.mkdir()
            return validator.validate(
                ValidationRequest(
                    envelope=attempt.envelope,
                    files=files,
                    further_files=further_files,
                    folder=work,
                    deadline=deadline,
                    memory_mb=validator.memory_mb,
                    upload=partial(attempt.upload, pool=pool),
                )
            )
    except Failure as failure:
        log.error("%s: %s", failure.code, failure)  # noqa: TRY400
        return failed(str(failure), code=failure.code)
    except Exception as error:
        log.exception("the validator failed")
        if dsn := environment.sentry_dsn:
            entry = attempt.envelope.validator
            tags = {
                "run_id": attempt.envelope.run_id,
                "validator": entry.id,
                "version": environment.version or entry.version,
            }
            report_fatal(error, dsn=dsn, tags=tags)
        text = "The validator failed; its log has the details."
        return failed(text, code="VALIDATOR_ERROR")


def _tell[Envelope: ValidationInputEnvelope](
    attempt: ExecutionAttempt[Envelope],
    output: ValidationOutputEnvelope,
    *,
    environment: ValidatorEnvironment,
    early: Future[Headers] | None,
) -> int:
    log.info("run %s: %s", output.run_id, output.status.value)
    if message := attempt.callback(output):
        callback, url = message
        try:
            post(callback.model_dump(mode="json"), url=url, environment=environment, early=early)
        except NotAccepted as error:
            log.error("callback given up: %s", error)  # noqa: TRY400
            return FAILED
    return FAILED if output.status is ValidationStatus.FAILED_RUNTIME else DONE


@contextmanager
def _stoppable() -> Iterator[None]:
    """Raise Stopped on SIGTERM in this block, once; afterwards SIGTERM is ignored."""

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def _sigterm_restored() -> Iterator[None]:
    previous = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _now() -> datetime:
    return datetime.fromtimestamp(time(), UTC)
