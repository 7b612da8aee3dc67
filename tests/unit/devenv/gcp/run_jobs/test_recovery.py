"""Restart of the emulator while executions run."""

from dataclasses import replace

import pytest

from devenv.gcp.errors import NotFound
from devenv.gcp.run_jobs.resources import Job, State
from devenv.gcp.run_jobs.runtimes.base import AttemptExit
from tests.unit.devenv.gcp.fakes import settle
from tests.unit.devenv.gcp.run_jobs.bench import CONFIG, JOB, Bench, completed, unpack

pytestmark = pytest.mark.anyio

PLACE = JOB.partition("/jobs/")[0]


async def test_running_attempt_is_followed_after_restart(bench: Bench) -> None:
    operation = await bench.call("RunJob", name=JOB)
    name = (await bench.attempt()).attempt.name
    later = await bench.killed()
    later.runtime.survivors[name] = None
    await later.service.start()

    (await later.attempt()).end()
    ended = await later.execution(unpack(operation))
    assert (ended.succeeded_count, ended.retried_count, ended.running_count) == (1, 0, 0)
    assert (await later.operation(operation.name)).HasField("response")
    assert later.runtime.kept == {name}


async def test_attempt_that_ended_meanwhile_is_recorded(bench: Bench) -> None:
    execution = await bench.run()
    name = (await bench.attempt()).attempt.name
    later = await bench.killed()
    later.runtime.survivors[name] = AttemptExit()
    await later.service.start()

    assert completed(await later.execution(execution)).state == State.CONDITION_SUCCEEDED


async def test_lost_attempt_is_retried(bench: Bench) -> None:
    execution = await bench.run()
    name = (await bench.attempt()).attempt.name
    later = await bench.killed()
    later.runtime.survivors[name] = AttemptExit(lost=True)
    await later.service.start()

    retry = await later.attempt()
    assert retry.attempt.number == 1
    (task,) = await later.tasks(execution)
    assert task.last_attempt_result.status.message == "Internal error."
    retry.end()
    assert (await later.execution(execution)).retried_count == 1


async def test_attempt_not_yet_started_starts_after_restart(bench: Bench) -> None:
    execution = await bench.run()
    later = await bench.killed()
    await later.service.start()

    attempt = await later.attempt()
    assert attempt.attempt.number == 0
    attempt.end()
    assert (await later.execution(execution)).succeeded_count == 1


async def test_timeout_continues_during_restart(bench: Bench) -> None:
    await bench.run()
    name = (await bench.attempt()).attempt.name
    later = await bench.killed()
    later.runtime.survivors[name] = None
    await later.clock.turn(45)
    await later.service.start()
    attempt = await later.attempt()

    assert not attempt.terminated
    await later.clock.turn(15)
    assert attempt.terminated


async def test_timeout_ends_after_its_length_if_the_clock_was_reset(bench: Bench) -> None:
    await bench.clock.turn(86_400)
    await bench.run()
    name = (await bench.attempt()).attempt.name
    bench.clock.lose(86_400)
    later = await bench.killed()
    later.runtime.survivors[name] = None
    await later.service.start()
    attempt = await later.attempt()

    await later.clock.turn(60)
    assert attempt.terminated


async def test_cancellation_survives_restart(bench: Bench) -> None:
    execution = await bench.run()
    name = (await bench.attempt()).attempt.name
    await bench.call("CancelExecution", name=execution.name)
    later = await bench.killed()
    later.runtime.survivors[name] = None
    await later.service.start()

    attempt = await later.attempt()
    assert attempt.terminated
    attempt.end(signal=15, terminated=True)
    assert completed(await later.execution(execution)).message == "Cancelled by user."


async def test_finished_tasks_are_not_repeated(bench: Bench) -> None:
    execution = await bench.run(overrides={"task_count": 2})
    name = (await bench.attempt(1)).attempt.name
    (await bench.attempt(0)).end()
    await settle()
    later = await bench.killed()
    later.runtime.survivors[name] = None
    await later.service.start()
    (await later.attempt()).end()

    assert [each.attempt.name for each in later.runtime.started] == [name]
    assert (await later.execution(execution)).succeeded_count == 2


async def test_graceful_stop_closes_runtime_without_recording(bench: Bench) -> None:
    execution = await bench.run()
    await bench.attempt()

    await bench.service.stop()
    assert bench.runtime.closed
    assert completed(await bench.execution(execution)).state == State.CONDITION_RECONCILING


async def test_declared_job_follows_devenv_toml(bench: Bench) -> None:
    job = CONFIG.jobs[0]
    changed = replace(CONFIG, jobs=(replace(job, image="demo/sim:2", max_retries=0),))
    later = await bench.killed(changed)
    await later.service.start()

    template = (await later.call("GetJob", name=JOB)).template.template
    assert template.containers[0].image == "demo/sim:2"
    assert (template.max_retries, template.HasField("max_retries")) == (0, True)


async def test_update_of_declared_job_stays_until_declaration_changes(bench: Bench) -> None:
    job = await bench.call("GetJob", name=JOB)
    job.template.task_count = 4
    await bench.call("UpdateJob", job=job)
    later = await bench.killed()
    await later.service.start()

    assert (await later.call("GetJob", name=JOB)).template.task_count == 4


async def test_job_removed_from_devenv_toml_is_deleted_with_executions(bench: Bench) -> None:
    execution = await bench.run()
    await bench.attempt()
    own = f"{PLACE}/jobs/own"
    given = await bench.call("GetJob", name=JOB)
    await bench.call("CreateJob", parent=PLACE, job=Job(template=given.template), job_id="own")
    later = await bench.killed(replace(CONFIG, jobs=()))
    await later.service.start()

    assert [job.name for job in (await later.call("ListJobs", parent=PLACE)).jobs] == [own]
    with pytest.raises(NotFound):
        await later.call("GetExecution", name=execution.name)
    assert later.runtime.kept == set()
