"""Lists of records, a page at a time."""

from collections.abc import Callable, Iterable

from devenv.gcp.messages import page
from devenv.gcp.run_jobs.messages import Pb

_LARGEST_PAGE = 1000
_LATEST = 10**18  # microseconds; what is counted down from here sorts newest first


def pick(records: Iterable[Pb], request: Pb, *, key: Callable[[Pb], str]) -> tuple[list[Pb], str]:
    """Return the records of the page that `request` asks for, and the token of the next page."""
    found = {key(record): record for record in records}
    keys, token = page(found, size=request.page_size, token=request.page_token, most=_LARGEST_PAGE)
    return [found[each] for each in keys], token


def by_name(record: Pb) -> str:
    return str(record.name)


def by_index(task: Pb) -> str:
    return f"{task.execution} {task.index:05}"


def newest_first(execution: Pb) -> str:
    return f"{_LATEST - execution.create_time.ToMicroseconds():018} {execution.name}"
