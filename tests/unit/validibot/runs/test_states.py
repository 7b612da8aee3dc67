"""The state tables: nothing reopens, everything can end, words for clients are total."""

from itertools import product

import pytest
from hypothesis import given, strategies as st

from validibot.runs.states import (
    ACTIVE_ATTEMPT,
    ATTEMPT,
    RECEIPT,
    RUN,
    STEP,
    AttemptState,
    ErrorCategory,
    ReceiptStatus,
    RunStatus,
    StepStatus,
    Table,
    public_result,
    public_state,
    sources,
    terminal,
)

TABLES = {
    "run": (RUN, RunStatus),
    "step": (STEP, StepStatus),
    "attempt": (ATTEMPT, AttemptState),
    "receipt": (RECEIPT, ReceiptStatus),
}
tables = pytest.mark.parametrize("name", TABLES)


def walk(table: Table, choices: list[int]) -> list[str]:
    """Follow a table from its first state, choosing among what may follow."""
    path = [next(iter(table))]
    for choice in choices:
        following = sorted(table[path[-1]])
        if following:
            path.append(following[choice % len(following)])
    return path


@tables
def test_state_table_has_every_state_and_no_other(name: str) -> None:
    table, states = TABLES[name]

    assert set(table) == set(states.values)
    assert set().union(*table.values()) <= set(table)


@tables
@given(choices=st.lists(st.integers(min_value=0, max_value=10), min_size=8, max_size=8))
def test_every_walk_ends_for_good_and_passes_no_state_twice(name: str, choices: list[int]) -> None:
    table, _ = TABLES[name]

    path = walk(table, choices)

    assert path[-1] in terminal(table)
    assert len(set(path)) == len(path)


@tables
def test_sources_and_successors_say_the_same(name: str) -> None:
    table, _ = TABLES[name]

    for state, target in product(table, table):
        assert (state in sources(table, target)) == (target in table[state])


def test_attempt_is_active_until_it_ends() -> None:
    assert {"PENDING", "DISPATCHING", "RUNNING", "UNKNOWN"} == ACTIVE_ATTEMPT


def test_unanswered_launch_is_not_repeated() -> None:
    assert not {"PENDING", "DISPATCHING"} & ATTEMPT["UNKNOWN"]


@given(status=st.sampled_from(RunStatus), category=st.sampled_from(ErrorCategory))
def test_public_state_and_result_cover_every_status(
    status: RunStatus, category: ErrorCategory
) -> None:
    state, result = public_state(status), public_result(status, category)

    assert state in ("PENDING", "RUNNING", "COMPLETED")
    assert (result == "UNKNOWN") == (state != "COMPLETED")


@pytest.mark.parametrize(
    ("status", "category", "result"),
    [
        ("PENDING", "", "UNKNOWN"),
        ("RUNNING", "", "UNKNOWN"),
        ("SUCCEEDED", "", "PASS"),
        ("CANCELED", "", "CANCELED"),
        ("TIMED_OUT", "TIMEOUT", "TIMED_OUT"),
        ("FAILED", "TIMEOUT", "TIMED_OUT"),
        ("FAILED", "VALIDATION_FAILED", "FAIL"),
        ("FAILED", "OOM", "ERROR"),
        ("FAILED", "RUNTIME_ERROR", "ERROR"),
        ("FAILED", "SYSTEM_ERROR", "ERROR"),
        ("FAILED", "", "ERROR"),
    ],
)
def test_public_result_is_that_of_the_contract(status: str, category: str, result: str) -> None:
    assert public_result(status, category) == result
