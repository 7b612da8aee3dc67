"""The FMU of a step: a task reads its variables, which become inputs and outputs of the step.

The variables are offered in the settings and in expressions, and a name in the settings that the model
does not have is refused. A run simulates the FMU that was submitted; that of the step is its pattern.
"""

import datetime as dt
import difflib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import Any

from django.db import transaction
from django.tasks import task
from django.utils import timezone

from validibot.core.echo import echo
from validibot.core.storage import ObjectNotFound, ObjectTooLarge, get_storage
from validibot.engines import BadDocument
from validibot.engines.fmu_variables import ModelVariable
from validibot.workflows.checks import ConfigProblem
from validibot.workflows.models import FmuDescription, FmuState, Step, StepFile

QUEUE = "fmu-probes"
FMU_TYPE = "fmu_model"
"""The type of a resource port that takes the FMU of a step (validator.toml)."""

MAX_FMU_BYTES = 64 * 1024 * 1024
# After so long the sweep asks again, and after so long nobody asks any more.
LOST_AFTER = dt.timedelta(seconds=60)
GIVE_UP_AFTER = dt.timedelta(days=1)
_HOUR = dt.timedelta(hours=1)
# Comparing two names takes the product of their lengths.
_COMPARED_LENGTH = 150
_COMPARED = 2000
MAX_NAME_PROBLEMS = 20
MAX_STORED = 10_000
_INTERFACE = ("input", "output", "parameter")
_SETTABLE = ("input", "parameter")
# Keys of `input_values` that are no variables begin like this one (validators.fmu.options).
_OWN = "validibot:"

logger = logging.getLogger(__name__)


def request_probe(file: StepFile) -> None:
    """Enqueue the reading of a step's file after the commit, if it is an FMU that was not read yet."""
    if file.type != FMU_TYPE:
        return
    description, is_new = FmuDescription.objects.get_or_create(file=file)
    if description.state == FmuState.PENDING:
        if not is_new:
            FmuDescription.objects.filter(file=file).update(requested_at=timezone.now())
        # If the queue is out of reach, the sweep enqueues it later.
        transaction.on_commit(partial(_enqueue, file.pk), robust=True)


def lost_probes(now: dt.datetime, *, limit: int) -> list[tuple[int, str]]:
    """Return the files that were not read in time, the oldest request first, with a key for each.

    The key names the file, the request and the hour: an entry that is still in the queue is not added
    again within an hour. A file that could not be read for a day is refused.
    """
    pending = FmuDescription.objects.filter(state=FmuState.PENDING)
    pending.filter(requested_at__lt=now - GIVE_UP_AFTER).update(
        state=FmuState.REFUSED, error="It could not be read for a day."
    )
    lost = pending.filter(requested_at__lt=now - LOST_AFTER).order_by("requested_at")
    return [
        (file_id, f"probe-{file_id}-{int(asked.timestamp())}-{(now - asked) // _HOUR}")
        for file_id, asked in lost.values_list("file_id", "requested_at")[:limit]
    ]


def copy_description(file: StepFile, copy: StepFile) -> None:
    """Give the copy of a file in another version the description of its original."""
    original = FmuDescription.objects.filter(file=file).first()
    if original and original.state != FmuState.PENDING:
        FmuDescription.objects.create(
            file=copy,
            state=original.state,
            error=original.error,
            variables=original.variables,
            is_complete=original.is_complete,
        )
    else:
        request_probe(copy)


def _enqueue(file_id: int) -> None:
    probe_fmu.enqueue(file_id)


@task(queue_name=QUEUE)
def probe_fmu(file_id: int) -> None:
    """Read the variables of a step's FMU; nothing is executed.

    A repetition changes nothing, and a file that was deleted meanwhile is done. Raises EngineBusy and
    StorageError, after which the queue delivers the task again.
    """
    pending = FmuDescription.objects.filter(file_id=file_id, state=FmuState.PENDING)
    description = pending.select_related("file").first()
    if description is None:
        return
    file = description.file
    # Imported late: a process that reads no FMU needs no XML library.
    from validibot.engines.fmu_probe import describe_in_child  # noqa: PLC0415

    try:
        content = get_storage(file.uri).read(
            file.uri, version=file.storage_version, limit=MAX_FMU_BYTES
        )
        found = describe_in_child(content)
    except (ObjectNotFound, ObjectTooLarge) as error:
        logger.warning("the FMU of step file %s cannot be read: %s", file_id, error)
        pending.update(
            state=FmuState.REFUSED,
            error=f"The file {file.name} is no longer stored, or is too large. Upload it again.",
        )
    except BadDocument as bad:
        pending.update(state=FmuState.REFUSED, error=str(bad))
    else:
        # Inputs, outputs and parameters first, because those are used.
        found.sort(key=lambda each: each.causality not in _INTERFACE)
        pending.update(
            state=FmuState.READ,
            variables=[asdict(each) for each in found[:MAX_STORED]],
            is_complete=len(found) <= MAX_STORED,
        )


def description_of(step: Step) -> FmuDescription | None:
    """Return the description of a step's FMU, in any state; None if the step has no FMU."""
    if not step.pk:
        return None
    return FmuDescription.objects.select_related("file").filter(file__step=step).first()


def variables_of(description: FmuDescription | None) -> list[ModelVariable]:
    """Return the variables of a description that was read."""
    return [ModelVariable(**each) for each in description.variables] if description else []


def inputs_of(variables: Iterable[ModelVariable]) -> list[ModelVariable]:
    """Return the variables that a step can set."""
    return [each for each in variables if each.causality in _SETTABLE]


def outputs_of(
    variables: Iterable[ModelVariable], config: Mapping[str, Any]
) -> list[ModelVariable]:
    """Return the variables that a step reports: those that it chose, or else all outputs."""
    chosen = config.get("output_variables") or ()
    if chosen:
        return [each for each in variables if each.name in chosen]
    return [each for each in variables if each.causality == "output"]


def name_problems(
    description: FmuDescription | None, config: Mapping[str, Any]
) -> list[ConfigProblem]:
    """Return problems of names in the settings of a step that its FMU does not have, the first few.

    There are none before the FMU was read, and none if it has more variables than are stored.
    """
    return list(islice(_name_problems(description, config), MAX_NAME_PROBLEMS))


def _name_problems(
    description: FmuDescription | None, config: Mapping[str, Any]
) -> Iterator[ConfigProblem]:
    if description is None or description.state != FmuState.READ or not description.is_complete:
        return
    variables = {each.name: each for each in variables_of(description)}
    values, chosen = config.get("input_values") or {}, config.get("output_variables") or ()
    for name in values:
        if name not in variables and not name.startswith(_OWN):
            yield ConfigProblem(
                ("input_values", name), _unknown(name, inputs_of(variables.values()))
            )
    for name in chosen:
        if name not in variables:
            yield ConfigProblem(("output_variables",), _unknown(name, list(variables.values())))


def _unknown(name: str, offered: Sequence[ModelVariable]) -> str:
    names = {each.name.casefold(): each.name for each in offered}
    comparable = [each for each in names if len(each) <= _COMPARED_LENGTH][:_COMPARED]
    known = name[:_COMPARED_LENGTH].casefold()
    near = difflib.get_close_matches(known, comparable, n=1, cutoff=0.5)
    if near:
        return f"The model has no variable {echo(name)}. Did you mean {echo(names[near[0]])}?"
    listed = ", ".join(list(names.values())[:10]) or "none"
    return f"The model has no variable {echo(name)}. It has: {listed}."
