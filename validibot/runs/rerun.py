"""Re-runs and retries: a run's submission led once more through its workflow.

Each is a run like any other. It has a submission of its own, so that the retention of one run takes
nothing from the other, and names the run that it repeats or retries. A re-run executes every step, in
the same or the newest version. A retry of a run that ended as ERROR or TIMED_OUT executes the same
version from the failed step, and takes over the results before it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from django.utils.translation import gettext

from validibot.accounts.models import User
from validibot.core.storage import ObjectNotFound
from validibot.core.words import word_of
from validibot.runs.access import NotAdmitted
from validibot.runs.models import Run
from validibot.runs.start import OriginTaken, RunOrigin, StartedRun, start
from validibot.runs.takeover import failed_step, living_retry
from validibot.runs.wording import verdict
from validibot.submissions.content import CHUNK_BYTES, Incoming, IncomingFile, stream
from validibot.submissions.models import ReceivedFile
from validibot.workflows.models import Workflow


def rerun(
    run: Run, workflow: Workflow, *, user: User, source: str, idempotency_key: str = ""
) -> StartedRun:
    """Start a run on the submission of `run`; `workflow` is a version of its workflow.

    Raises NotAdmitted, also when the submission is not kept any more or the run is a trial, and
    otherwise as `start`.
    """
    _check_no_trial(workflow)
    with _incoming(run) as incoming:
        return start(
            workflow,
            incoming,
            user=user,
            source=source,
            idempotency_key=idempotency_key,
            origin=RunOrigin(rerun_of=run),
        )


def retry(run: Run, *, user: User, source: str, idempotency_key: str = "") -> StartedRun:
    """Start a run that goes on from the failed step of `run`, or return the one that does.

    A run has one retry that was not cancelled. Raises NotAdmitted, also when the run ended otherwise
    or its files are not kept any more, and otherwise as `start`.
    """
    if earlier := living_retry(run):
        return StartedRun(earlier, replayed=True)
    _check_no_trial(run.workflow)
    if failed_step(run, list(run.steps.order_by("order"))) is None:
        raise NotAdmitted(
            "RUN_NOT_RETRYABLE",
            gettext(
                "The state of this run is “%(state)s”. Only a run that ended with “%(error)s” or"
                " “%(timed_out)s” can be tried again from its failed step. Run it again instead."
            )
            % {
                "state": verdict(run),
                "error": word_of("ERROR"),
                "timed_out": word_of("TIMED_OUT"),
            },
            status=409,
        )
    try:
        with _incoming(run) as incoming:
            return start(
                run.workflow,
                incoming,
                user=user,
                source=source,
                idempotency_key=idempotency_key,
                origin=RunOrigin(retry_of=run),
            )
    except OriginTaken:
        # Of two at the same moment the other was first, and may have been cancelled since.
        return retry(run, user=user, source=source, idempotency_key=idempotency_key)
    except ObjectNotFound as error:
        raise NotAdmitted(
            "ARTIFACT_REMOVED",
            "A file of the finished steps is not kept any more. Run the workflow again from its first"
            " step.",
            status=410,
        ) from error


def _check_no_trial(workflow: Workflow) -> None:
    if workflow.is_trial:
        raise NotAdmitted(
            "TRIAL",
            "This run is the trial of one step. Try the step again in the editor.",
            status=409,
        )


@contextmanager
def _incoming(run: Run) -> Iterator[Incoming]:
    """Open the files of the run's submission as those of a launch."""
    submission = run.submission
    with ExitStack() as opened:
        try:
            first, *further = (
                _opened(opened, file) for file in (submission, *submission.further_files)
            )
        except ObjectNotFound as error:
            raise NotAdmitted(
                "SUBMISSION_REMOVED",
                "The submitted file is not kept any more. Send it again as a new run.",
                status=410,
            ) from error
        yield Incoming(
            first.content,
            first.filename,
            first.size_bytes,
            first.sha256,
            name=submission.name,
            metadata=submission.metadata,
            short_description=submission.short_description,
            scenario=run.scenario,
            weather=_asked_weather(run),
            further=tuple(further),
        )


def _opened(opened: ExitStack, file: ReceivedFile) -> IncomingFile:
    target = opened.enter_context(SpooledTemporaryFile(max_size=CHUNK_BYTES))  # noqa: SIM115
    for chunk in stream(file):
        target.write(chunk)
    target.seek(0)
    return IncomingFile(cast("BinaryIO", target), file.filename, file.size_bytes, file.sha256)


def _asked_weather(run: Run) -> str:
    """Return the weather that the launch named in place of that of the steps, if it did."""
    steps = run.steps.select_related("step")
    return next((each.weather_name for each in steps if each.weather_name != each.step.weather), "")
