"""Our REST table says what the published client does."""

from typing import Any

import pytest
from google.cloud.run_v2.services.executions.transports.rest_base import (
    _BaseExecutionsRestTransport,
)
from google.cloud.run_v2.services.jobs.transports.rest_base import _BaseJobsRestTransport
from google.cloud.run_v2.services.tasks.transports.rest_base import _BaseTasksRestTransport

from devenv.gcp.rpc import HttpRule
from devenv.gcp.run_jobs import api as rest


def published(transport: Any, method: str) -> HttpRule:
    """Return the one rule that the client has for a method."""
    (rule,) = getattr(transport, f"_Base{method}")._get_http_options()
    return HttpRule(rule["method"].upper(), rule["uri"], rule.get("body", ""))


@pytest.mark.parametrize(
    ("transport", "table"),
    [
        (_BaseJobsRestTransport, rest.JOBS),
        (_BaseExecutionsRestTransport, rest.EXECUTIONS),
        (_BaseTasksRestTransport, rest.TASKS),
        (_BaseJobsRestTransport, rest.OPERATIONS),
    ],
    ids=["jobs", "executions", "tasks", "operations"],
)
def test_rest_table_equals_published_client(transport: Any, table: dict[str, HttpRule]) -> None:
    assert table == {method: published(transport, method) for method in table}
