"""What a killed emulator leaves is taken up by the next one."""

from dataclasses import replace

import pytest

from devenv.gcp.run_jobs.resources import State
from devenv.gcp.run_jobs.runtimes.base import AttemptExit
from tests.unit.devenv.gcp.fakes import settle
from tests.unit.devenv.gcp.run_jobs.bench import CONFIG, JOB, Bench, completed, unpack

pytestmark = pytest.mark.anyio


async def test_a_runtime_that_is_still_alive_is_watched_to_its_end(bench: Bench) -> None:
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


async def test_a_runtime_that_ended_in_between_tells_its_end(bench: Bench) -> None:
    execution = await bench.run()
    name = (await bench.attempt()).attempt.name
    later = await bench.killed()
    later.runtime.survivors[name] = AttemptExit()
    await later.service.start()

    assert completed(await later.execution(execution)).state == State.CONDITION_SUCCEEDED


async def test_a_runtime_that_is_gone_counts_as_failed_and_is_retried(bench: Bench) -> None:
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


async def test_an_attempt_that_had_not_come_to_run_starts_now(bench: Bench) -> None:
    execution = await bench.run()
    later = await bench.killed()
    await later.service.start()

    attempt = await later.attempt()
    assert attempt.attempt.number == 0
    attempt.end()
    assert (await later.execution(execution)).succeeded_count == 1


async def test_the_timeout_goes_on_counting_while_the_emulator_is_away(bench: Bench) -> None:
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


async def test_a_cancellation_is_not_forgotten(bench: Bench) -> None:
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


async def test_tasks_that_had_ended_are_not_run_again(bench: Bench) -> None:
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


async def test_a_polite_stop_records_nothing_and_closes_the_runtime(bench: Bench) -> None:
    execution = await bench.run()
    await bench.attempt()

    await bench.service.stop()
    assert bench.runtime.closed
    assert completed(await bench.execution(execution)).state == State.CONDITION_RECONCILING


async def test_declared_jobs_follow_their_declaration(bench: Bench) -> None:
    job = CONFIG.jobs[0]
    changed = replace(CONFIG, jobs=(replace(job, image="demo/sim:2", max_retries=0),))
    later = await bench.killed(changed)
    await later.service.start()

    template = (await later.call("GetJob", name=JOB)).template.template
    assert template.containers[0].image == "demo/sim:2"
    assert (template.max_retries, template.HasField("max_retries")) == (0, True)


async def test_what_a_caller_changed_stays_until_the_declaration_changes(bench: Bench) -> None:
    job = await bench.call("GetJob", name=JOB)
    job.template.task_count = 4
    await bench.call("UpdateJob", job=job)
    later = await bench.killed()
    await later.service.start()

    assert (await later.call("GetJob", name=JOB)).template.task_count == 4
