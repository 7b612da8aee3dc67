"""The life of an execution, as its records tell it."""

import asyncio
import sqlite3
from typing import Any

import pytest

from devenv.gcp.errors import FailedPrecondition, InvalidArgument, NotFound
from devenv.gcp.run_jobs.executions import MOST_AT_A_TIME
from devenv.gcp.run_jobs.resources import CommonReason, ExecutionReason, State
from devenv.gcp.run_jobs.runtimes.base import digest
from tests.unit.devenv.gcp.fakes import settle
from tests.unit.devenv.gcp.run_jobs.bench import IMAGE, JOB, Bench, completed, unpack

pytestmark = pytest.mark.anyio


def refuse() -> None:
    raise sqlite3.OperationalError("database or disk is full")


async def test_operation_names_execution_immediately(bench: Bench) -> None:
    operation = await bench.call("RunJob", name=JOB)

    assert not operation.done
    assert unpack(operation).name.startswith(f"{JOB}/executions/sim-")
    assert unpack(operation).job == "sim"
    assert operation.name.startswith("projects/demo/locations/us-west1/operations/")


async def test_execution_is_pending_then_reconciling_then_succeeded(bench: Bench) -> None:
    execution = await bench.run()
    assert completed(execution).state == State.CONDITION_PENDING
    assert completed(execution).message == "Waiting for execution to complete."

    attempt = await bench.attempt()
    running = await bench.execution(execution)
    assert completed(running).state == State.CONDITION_RECONCILING
    assert (running.running_count, running.reconciling) == (1, True)

    await bench.clock.turn(38.22)
    attempt.end()
    ended = await bench.execution(execution)
    assert completed(ended).state == State.CONDITION_SUCCEEDED
    assert completed(ended).message == "Execution completed successfully in 38.22s."
    assert (ended.running_count, ended.succeeded_count, ended.reconciling) == (0, 1, False)


async def test_execution_shows_digest_of_its_image(bench: Bench) -> None:
    execution = await bench.run()
    await bench.attempt()

    shown = await bench.execution(execution)
    assert shown.template.containers[0].image == digest(IMAGE)


async def test_container_environment_names_job_execution_and_task(bench: Bench) -> None:
    execution = await bench.run()

    attempt = (await bench.attempt()).attempt
    short = execution.name.rsplit("/", 1)[-1]
    assert attempt.account == "runner@demo.iam.gserviceaccount.com"
    assert attempt.memory == 512 * 2**20
    assert attempt.env == {
        "MODE": "job",
        "A": "1",
        "CLOUD_RUN_JOB": "sim",
        "CLOUD_RUN_EXECUTION": short,
        "CLOUD_RUN_TASK_INDEX": "0",
        "CLOUD_RUN_TASK_ATTEMPT": "0",
        "CLOUD_RUN_TASK_COUNT": "1",
    }


async def test_failed_attempt_is_retried_and_next_success_counts(bench: Bench) -> None:
    execution = await bench.run()
    (await bench.attempt()).end(code=1)
    second = await bench.attempt()
    second.end()

    ended = await bench.execution(execution)
    assert second.attempt.env["CLOUD_RUN_TASK_ATTEMPT"] == "1"
    assert (ended.succeeded_count, ended.failed_count, ended.retried_count) == (1, 0, 1)
    assert bench.runtime.started[0].discarded


async def test_execution_fails_when_task_is_out_of_retries(bench: Bench) -> None:
    operation = await bench.call("RunJob", name=JOB)
    for _ in range(2):
        (await bench.attempt()).end(code=3)

    ended = await bench.execution(unpack(operation))
    short = ended.name.rsplit("/", 1)[-1]
    message = f"Task {short}-task0 failed with exit code: 3 and message: The container exited with an error."
    assert completed(ended).message == message
    assert completed(ended).execution_reason == ExecutionReason.NON_ZERO_EXIT_CODE
    error = (await bench.operation(operation.name)).error
    assert (error.code, error.message) == (10, message)


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ({"signal": 7}, 10, "A signal terminated the container."),
        ({"signal": 9, "out_of_memory": True}, 8, "The configured memory limit was reached."),
        ({"lost": True}, 13, "Internal error."),
    ],
    ids=["signal", "memory", "lost"],
)
async def test_each_exit_has_google_message(
    bench: Bench, how: dict[str, int], code: int, text: str
) -> None:
    operation = await bench.call("RunJob", name=JOB)
    for _ in range(2):
        (await bench.attempt()).end(**how)

    ended = await bench.execution(unpack(operation))
    assert completed(ended).message.endswith(f"failed with exit code: 0 and message: {text}")
    assert (await bench.operation(operation.name)).error.code == code


async def test_attempt_past_timeout_is_terminated(bench: Bench) -> None:
    operation = await bench.call("RunJob", name=JOB)
    for _ in range(2):
        attempt = await bench.attempt()
        await bench.clock.turn(59)
        assert [each.terminated for each in bench.runtime.started][-1:] == [False]
        await bench.clock.turn(1)
        assert attempt.terminated
        attempt.end(signal=15, terminated=True)

    ended = await bench.execution(unpack(operation))
    assert "exit code: 0 and message: The configured timeout" in completed(ended).message
    assert (await bench.operation(operation.name)).error.code == 4


async def test_cancel_ends_running_tasks_without_error(bench: Bench) -> None:
    operation = await bench.call("RunJob", name=JOB)
    attempt = await bench.attempt()
    execution = unpack(operation)

    cancelling = unpack(await bench.call("CancelExecution", name=execution.name))
    assert completed(cancelling).execution_reason == ExecutionReason.CANCELLING
    assert cancelling.generation == 2
    assert attempt.terminated
    attempt.end(signal=15, terminated=True)

    ended = await bench.execution(execution)
    assert completed(ended).message == "Cancelled by user."
    assert completed(ended).execution_reason == ExecutionReason.CANCELLED
    assert (ended.cancelled_count, ended.failed_count) == (1, 0)
    assert (await bench.tasks(ended))[0].last_attempt_result.status.code == 1
    answer = await bench.operation(operation.name)
    assert answer.done
    assert not answer.HasField("error")


async def test_cancel_before_the_image_is_known_is_not_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled, pin = asyncio.Event(), bench.runtime.pin

    async def pull(image: str) -> str | None:
        await pulled.wait()
        return await pin(image)

    monkeypatch.setattr(bench.runtime, "pin", pull)
    execution = await bench.run(overrides={"task_count": 2})
    await bench.call("CancelExecution", name=execution.name)
    reasons: list[int] = []
    save = bench.service._executions._context.store.save

    def watch(record: Any, *tasks: Any, **fields: Any) -> None:
        reasons.append(completed(record).execution_reason)
        save(record, *tasks, **fields)

    monkeypatch.setattr(bench.service._executions._context.store, "save", watch)
    pulled.set()

    assert (await bench.execution(execution)).cancelled_count == 2
    canceling, canceled = ExecutionReason.CANCELLING, ExecutionReason.CANCELLED
    assert reasons == [canceling, canceling, canceled]  # what a restart in between would read
    assert not bench.runtime.started


async def test_cancellation_that_could_not_be_written_can_be_repeated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await bench.run()
    attempt = await bench.attempt()
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "commit", refuse)
        with pytest.raises(sqlite3.OperationalError):
            await bench.call("CancelExecution", name=execution.name)
    assert not attempt.terminated

    await bench.call("CancelExecution", name=execution.name)
    assert attempt.terminated


async def test_execution_that_cannot_be_written_ends_what_runs_and_frees_its_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await bench.run(overrides={"task_count": 2})
    first, second = await bench.attempt(0), await bench.attempt(1)
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "commit", refuse)
        first.end(code=1)
        await bench.clock.turn(10)
        assert not (await bench.execution(execution)).HasField("completion_time")
    await bench.clock.turn(1)

    assert completed(await bench.execution(execution)).message == "Internal error."
    assert second.terminated
    assert bench.service._executions._context.capacity._value == MOST_AT_A_TIME


async def test_cancel_keeps_result_of_finished_task(bench: Bench) -> None:
    execution = await bench.run()
    attempt = await bench.attempt()

    await bench.call("CancelExecution", name=execution.name)
    attempt.end()

    assert completed(await bench.execution(execution)).state == State.CONDITION_SUCCEEDED


async def test_ended_execution_cannot_be_cancelled(bench: Bench) -> None:
    execution = await bench.run()
    (await bench.attempt()).end()
    await settle()

    with pytest.raises(FailedPrecondition, match="cannot be cancelled because it is not running"):
        await bench.call("CancelExecution", name=execution.name)


async def test_parallelism_limits_running_tasks(bench: Bench) -> None:
    execution = await bench.run(overrides={"task_count": 3})
    await settle()
    assert len(bench.runtime.started) == 3

    job = await bench.call("GetJob", name=JOB)
    job.template.parallelism = 2
    await bench.call("UpdateJob", job=job)
    limited = await bench.run(overrides={"task_count": 3})
    await settle()
    assert (execution.parallelism, limited.parallelism) == (3, 2)
    assert len(bench.runtime.started) == 5

    bench.runtime.started[3].end()
    last = (await bench.attempt()).attempt
    assert last.env["CLOUD_RUN_TASK_INDEX"] == "2"


async def test_other_tasks_continue_after_failure(bench: Bench) -> None:
    execution = await bench.run(overrides={"task_count": 2})
    other = await bench.attempt(1)
    (await bench.attempt(0)).end(code=1)
    (await bench.attempt(2)).end(code=1)

    running = await bench.execution(execution)
    assert (running.running_count, running.failed_count) == (1, 1)
    assert completed(running).state == State.CONDITION_RECONCILING
    other.end()
    ended = await bench.execution(execution)
    assert completed(ended).state == State.CONDITION_FAILED
    assert (ended.succeeded_count, ended.failed_count) == (1, 1)


async def test_cancelling_keeps_waiting_tasks_from_starting(bench: Bench) -> None:
    job = await bench.call("GetJob", name=JOB)
    job.template.parallelism = 1
    await bench.call("UpdateJob", job=job)
    execution = await bench.run(overrides={"task_count": 3})
    attempt = await bench.attempt()

    await bench.call("CancelExecution", name=execution.name)
    attempt.end(signal=15, terminated=True)

    assert (await bench.execution(execution)).cancelled_count == 3
    assert len(bench.runtime.started) == 1


async def test_unknown_image_fails_execution(bench: Bench) -> None:
    job = await bench.call("GetJob", name=JOB)
    job.template.template.containers[0].image = "demo/unknown:1"
    await bench.call("UpdateJob", job=job)

    operation = await bench.call("RunJob", name=JOB)
    ended = await bench.execution(unpack(operation))
    assert completed(ended).reason == CommonReason.CONTAINER_MISSING
    assert completed(ended).message == "Image 'demo/unknown:1' not found. Bring it."
    assert (await bench.operation(operation.name)).error.code == 5


async def test_task_that_cannot_start_is_internal_error_with_reason(
    bench: Bench,
) -> None:
    bench.runtime.broken = True
    operation = await bench.call("RunJob", name=JOB)
    ended = await bench.execution(unpack(operation))

    assert completed(ended).message.endswith("and message: No engine answers.")
    assert (await bench.operation(operation.name)).error.code == 13


async def test_job_refers_to_latest_execution(bench: Bench) -> None:
    execution = await bench.run()
    (await bench.attempt()).end()
    await settle()

    job = await bench.call("GetJob", name=JOB)
    latest = job.latest_created_execution
    assert job.execution_count == 1
    assert execution.name.endswith(latest.name)
    assert latest.completion_status == 1  # EXECUTION_SUCCEEDED


async def test_delete_ends_and_removes_execution(bench: Bench) -> None:
    execution = await bench.run()
    attempt = await bench.attempt()

    operation = await bench.call("DeleteExecution", name=execution.name)
    assert not operation.done
    attempt.end(signal=15, terminated=True)

    assert (await bench.operation(operation.name)).done
    with pytest.raises(NotFound, match="of kind 'EXECUTION' in region 'us-west1'"):
        await bench.execution(execution)


async def test_delete_job_removes_its_executions(bench: Bench) -> None:
    execution = await bench.run()
    (await bench.attempt()).end()
    await settle()

    operation = await bench.call("DeleteJob", name=JOB)
    assert operation.done
    for method, name in (("GetJob", JOB), ("GetExecution", execution.name)):
        with pytest.raises(NotFound):
            await bench.call(method, name=name)


async def test_wait_operation_returns_when_done(bench: Bench) -> None:
    operation = await bench.call("RunJob", name=JOB)
    attempt = await bench.attempt()
    early = await bench.call("WaitOperation", name=operation.name, timeout={"nanos": 1000})
    assert not early.done

    attempt.end()
    late = await bench.call("WaitOperation", name=operation.name)
    assert late.done
    assert late.HasField("response")


def _with_secret(name: str, **reference: str) -> dict[str, Any]:
    source = {"secret_key_ref": {"secret": "key", "version": "latest", **reference}}
    return {"container_overrides": [{"env": [{"name": name, "value_source": source}]}]}


async def test_variable_gets_the_value_of_its_secret(bench: Bench) -> None:
    bench.secrets["key@latest"] = b"s3cret"

    execution = await bench.run(overrides=_with_secret("TOKEN"))

    assert (await bench.attempt()).attempt.env["TOKEN"] == "s3cret"
    assert "s3cret" not in str(await bench.execution(execution))


async def test_execution_without_its_secret_fails_and_names_it(bench: Bench) -> None:
    execution = await bench.execution(await bench.run(overrides=_with_secret("TOKEN")))

    condition = completed(execution)
    assert not bench.runtime.started
    assert "Secret key of TOKEN cannot be read by" in condition.message


async def test_secret_without_a_version_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidArgument, match="must name a secret and its version"):
        await bench.run(overrides=_with_secret("TOKEN", version=""))


async def test_volume_has_the_files_of_its_secret(bench: Bench) -> None:
    bench.secrets |= {"key@latest": b"new", "key@1": b"old"}
    job = await bench.call("GetJob", name=JOB)
    task = job.template.template
    items = [{"path": "dir/old", "version": "1"}, {"path": "new"}]
    task.volumes.add(name="some", secret={"secret": "key", "items": items})
    task.volumes.add(name="whole", secret={"secret": "key"})
    task.containers[0].volume_mounts.add(name="some", mount_path="/some")
    task.containers[0].volume_mounts.add(name="whole", mount_path="/whole")
    await bench.call("UpdateJob", job=job)

    await bench.run()

    assert (await bench.attempt()).attempt.files == {
        "/some": {"dir/old": b"old", "new": b"new"},
        "/whole": {"key": b"new"},
    }
