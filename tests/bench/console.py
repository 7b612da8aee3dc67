"""Pages of the console over much: 10,000 tasks, 1,000 executions, 100,000 calls in the journal."""

import asyncio
import logging
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from devenv.gcp import Cloud
from devenv.gcp.clock import SystemClock
from devenv.gcp.config import CloudConfig, ImageConfig, JobConfig, QueueConfig
from devenv.gcp.journal import Journal, note_decision, trace_of
from devenv.gcp.messages import set_moment
from devenv.gcp.run_jobs.resources import Execution, State
from devenv.gcp.run_jobs.state import RunJobsState
from devenv.gcp.store import Store
from devenv.gcp.tasks.rules import Task
from devenv.gcp.tasks.state import QueuedEntry, TasksStore
from tests.unit.devenv.console.console import ConsoleClient, write_state

type Row = tuple[str, str, str]

TASKS, EXECUTIONS, CALLS, LOADS = 10_000, 1_000, 100_000, 15
# Of the rows about load in docs/benchmarks.md: calls of a JSON Schema run, and its processor time.
CALLS_OF_RUN, RUN_MILLISECONDS = 2, 18.0
CONFIG = CloudConfig(
    project="bench",
    accounts=("web",),
    queues=(QueueConfig("runs", max_dispatches_per_second=0.001),),
    images=(ImageConfig("job:1", ("{python}", "-c", "")),),
    jobs=(JobConfig("job", "job:1", "web"),),
)
PARENT = f"projects/bench/locations/{CONFIG.region}"
PAGES = (
    # Path, name, and a text that shows the last row of the page.
    ("/tasks/runs", f"list of {TASKS:,} tasks", "task-000099"),
    ("/jobs/job", f"list of {EXECUTIONS:,} executions", "job-00099"),
    ("/journal", f"journal of {CALLS:,} calls", f"b/o/{CALLS - 100}"),
    ("/journal?caller=nobody", f"journal of {CALLS:,} calls, filter without a match", "No call"),
)


def measure() -> Iterator[Row]:
    """Yield the median time of each page, from the request to the whole answer."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "gcp"
        with Cloud(CONFIG, data=data):
            pass  # it makes the queue, the job and the tables
        _fill(data)
        write_state(Path(folder))
        with Cloud(CONFIG, data=data) as cloud:
            client = ConsoleClient(Path(folder), cloud=cloud.plain_url, cloud_data=data)
            client.sign_in()
            for path, name, last in PAGES:
                yield f"console, {name}", f"{_milliseconds(client, path, last):.0f} ms", "≤ 100 ms"
            client.close()
    yield measure_journal()


def measure_journal() -> Row:
    """Return what the journal and the trace of a call cost, beside the processor time of a run."""
    log = logging.getLogger("devenv.gcp.journal")
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        journal = Journal(Path(folder) / "journal.sqlite3", SystemClock())
        began = time.process_time()
        asyncio.run(_record(journal))
        spent = (time.process_time() - began) / CALLS * 1000
        journal.close()
        log.removeHandler(handler)
    share = spent * CALLS_OF_RUN / RUN_MILLISECONDS
    text = f"{spent:.3f} ms: {share:.1%} of a run with {CALLS_OF_RUN} calls"
    return "processor time of a call in the journal, with its trace", text, "≤ 10 % of a run"


async def _record(journal: Journal) -> None:
    for number in range(CALLS):
        with journal.entry("storage.objects.insert", f"b/o/{number}") as entry:
            entry.trace = trace_of({"traceparent": f"00-{number % 1000 + 1:032x}-{1:016x}-01"})
            entry.caller, entry.status = "web@bench.iam.gserviceaccount.com", "200"
            note_decision("storage.objects.create", f"b/o/{number}", allowed=True)
    journal.flush()


def _milliseconds(client: ConsoleClient, path: str, last: str) -> float:
    times = []
    for _ in range(LOADS):
        began = time.perf_counter()
        answer = client.get(path)
        times.append((time.perf_counter() - began) * 1000)
        assert last in answer.text, answer.text
    return statistics.median(times)


def _fill(data: Path) -> None:
    store, now = Store(data / "state.sqlite3"), time.time()
    saved, state = TasksStore(store, SystemClock()), RunJobsState(store)
    with store.transaction():
        for number in range(TASKS):
            task = Task(name=f"{PARENT}/queues/runs/tasks/task-{number:06}")
            task.http_request.url = "https://web.example/"
            set_moment(task.schedule_time, now + 86_400)
            set_moment(task.create_time, now)
            saved.save(QueuedEntry(task))
        for number in range(EXECUTIONS):
            state.executions.put(_execution(number, now))
    store.close()
    journal = sqlite3.connect(data / "journal.sqlite3")
    journal.executemany(
        "INSERT INTO calls (at, method, resource, caller, permission, decision, status, "
        "milliseconds, fault, target, used, trace) VALUES (?, 'storage.objects.get', ?, 'web@bench', "
        "'storage.objects.get', 'allowed', '200', 1.0, '', '', 'storage.objects.get', '')",
        ((now - CALLS + n, f"storage.googleapis.com/b/o/{n}") for n in range(CALLS)),
    )
    journal.commit()
    journal.close()


def _execution(number: int, now: float) -> Execution:
    name = f"{PARENT}/jobs/job/executions/job-{number:05}"
    execution = Execution(name=name, job="job", task_count=1)
    execution.template.containers.add(image="job:1")
    execution.conditions.add(type_="Completed", state=State.CONDITION_SUCCEEDED, message="Done.")
    for moment in (execution.create_time, execution.start_time, execution.completion_time):
        set_moment(moment, now - number)
    return execution


if __name__ == "__main__":
    for row in measure():
        print("| " + " | ".join(row) + " |")  # noqa: T201 - this is what it is for
