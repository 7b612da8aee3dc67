"""Concurrent requests with one idempotency key."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from tests.unit.validibot.api.conftest import Api
from validibot.runs.models import Run
from validibot.workflows.models import Workflow


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_with_one_key_start_one_run(alice: Api, people: Workflow) -> None:
    barrier = Barrier(4)

    def launch(_: int) -> Any:
        try:
            barrier.wait(60)
            return alice.launch(b'{"name": "Ada"}', **{"Idempotency-Key": "k"})
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(launch, range(4)))

    assert {answer.status_code for answer in answers} <= {201, 202}
    assert {answer.json()["id"] for answer in answers} == {str(Run.objects.get().pk)}
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 3
