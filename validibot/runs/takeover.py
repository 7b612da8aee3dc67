"""Takeover of results: a retry starts with the finished steps of the run that it retries.

A run that has ended never goes on, so a retry is a new run. It has copies of the results of the steps
before the failed one, and executes the others. A copied step says which run executed it. The files of
artifacts are copied, too: the retention or deletion of one run takes nothing from the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import connection

from validibot.core.storage import get_storage
from validibot.runs.models import Artifact, Run, RunEvent, StepRun, with_images
from validibot.runs.states import RunStatus, StepStatus

RETRYABLE_RESULTS = frozenset({"ERROR", "TIMED_OUT"})
_COPIED = (
    *(
        "name",
        "validator",
        "validator_version",
        "config_digest",
        "image",
        "weather",
        "status",
        "error",
    ),
    *("outputs", "rules", "started_at", "ended_at"),
)
_COPY_FINDINGS = """
INSERT INTO runs_finding
    (run_id, step_run_id, "order", severity, code, message, path, line, "column", assertion_id)
SELECT %s, %s, "order", severity, code, message, path, line, "column", assertion_id
FROM runs_finding WHERE step_run_id = %s ORDER BY "order"
"""


def failed_step(run: Run, steps: Iterable[StepRun]) -> StepRun | None:
    """Return the step that a retry of the run begins with; None if the run cannot be retried.

    `steps` are those of the run in order. A step with errors in the data that let the run go on has
    another error than the run.
    """
    if run.result not in RETRYABLE_RESULTS:
        return None
    return next((step for step in steps if not _is_finished(step, run)), None)


def living_retry(run: Run) -> Run | None:
    """Return the retry of a run that was not cancelled, if it has one."""
    return run.retries.exclude(status=RunStatus.CANCELED).first()


def _is_finished(step: StepRun, run: Run) -> bool:
    if step.status == StepStatus.PASSED:
        return True
    # Steps that were closed with their run have no summary of findings.
    return step.rules is not None and not (
        step.status == StepStatus.FAILED and step.error == run.error
    )


class Takeover:
    """The results that the run `target` takes over from the run `source`, which ended as ERROR.

    Call `copy_files`, then `prepare` and `save` in the transaction that creates the run; `discard`
    removes the files if there is no such transaction.
    """

    def __init__(self, source: Run, target: Run) -> None:
        self.source = source
        self.target = target
        steps = list(with_images(source.steps.order_by("order")))
        failed = failed_step(source, steps)
        self._steps = {step.order: step for step in steps if failed and step.order < failed.order}
        self._artifacts: list[Artifact] = []
        self._folder = f"{settings.DATA_ROOT}/runs/{target.organisation_id}/{target.pk}/"

    def copy_files(self) -> None:
        """Copy the files of the artifacts. Raises StorageError; ObjectNotFound if one is gone."""
        found = Artifact.objects.filter(step_run__in=self._steps.values())
        for artifact in found.select_related("step_run"):
            # As the folder of an attempt: files that no row names are removed by the purge.
            name = artifact.uri.rpartition("/")[2]
            uri = f"{self._folder}attempts/{uuid4()}/{name}"
            artifact.storage_version = get_storage(uri).copy(
                artifact.uri, uri, version=artifact.storage_version
            )
            artifact.uri = uri
            self._artifacts.append(artifact)

    def prepare(self, steps: Sequence[StepRun]) -> None:
        """Set the results of unsaved steps of the new run."""
        for step, done in self._pairs(steps):
            for name in _COPIED:
                setattr(step, name, getattr(done, name))
            executed: Any = done  # annotated by with_images
            step.taken_over = {
                "run": done.taken_over_from or str(self.source.pk),
                "image_digest": executed.image_digest,
                **({"access": executed.access} if executed.access else {}),
            }

    def save(self, steps: Sequence[StepRun]) -> list[RunEvent]:
        """Write copies of findings and artifacts of saved steps; return the unsaved events."""
        events: list[RunEvent] = []
        of_step = {done.pk: step for step, done in self._pairs(steps)}
        with connection.cursor() as cursor:
            for done, step in of_step.items():
                cursor.execute(_COPY_FINDINGS, [self.target.pk, step.pk, done])
                data = {"run": step.taken_over_from}
                event = RunEvent(run=self.target, step_run=step, kind="step_taken_over", data=data)
                events.append(event)
        for artifact in self._artifacts:
            artifact.run, artifact.step_run = self.target, of_step[artifact.step_run_id]
            artifact.pk = None
        Artifact.objects.bulk_create(self._artifacts)
        return events

    def discard(self) -> None:
        """Remove the copied files. Raises StorageError."""
        get_storage(self._folder).delete_below(self._folder)

    def _pairs(self, steps: Sequence[StepRun]) -> Iterator[tuple[StepRun, StepRun]]:
        """Yield each step of the new run with the finished one that it takes over."""
        return ((step, self._steps[step.order]) for step in steps if step.order in self._steps)
