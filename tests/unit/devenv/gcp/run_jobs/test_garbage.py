"""Requests that make no sense get one of Google's errors, whatever they are."""

import random
from typing import Any

import pytest
from google.protobuf.message import Message

from devenv.gcp.caller import ApiCall
from devenv.gcp.errors import CloudError
from tests.unit.devenv.gcp.run_jobs.bench import IMAGE, JOB, LOCATION, Bench

pytestmark = pytest.mark.anyio

TEXTS = [
    *("", "-", "/", "\0", "é", "x" * 5000, "projects/demo", IMAGE, "sim", "a=b", "9Gi", "-1"),
    *(LOCATION, JOB, f"{JOB}/executions/-", f"{LOCATION}/jobs/-", f"{JOB}/executions/a/tasks/b"),
    *(f"{LOCATION}/operations/x", "projects/-/locations/-/jobs/-", f"{JOB}/executions/\N{SNOWMAN}"),
]


def fill(message: Message, chance: random.Random, depth: int = 0) -> Any:
    """Set about half of the fields of a message to something."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.5 or depth > 6:
            continue
        value = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            _put(value, chance)
        elif field.message_type and field.is_repeated:
            fill(value.add(), chance, depth + 1)
        elif field.message_type:
            fill(value, chance, depth + 1)
            value.SetInParent()
        elif field.is_repeated:
            value.append(_scalar(field, chance))
        else:
            setattr(message, field.name, _scalar(field, chance))
    return message


def _put(mapping: Any, chance: random.Random) -> None:
    if type(mapping).__name__.startswith("Scalar"):
        mapping[chance.choice(("cpu", "memory", "x"))] = chance.choice(TEXTS)


def _scalar(field: Any, chance: random.Random) -> Any:
    choices: dict[int, Any] = {
        field.TYPE_STRING: TEXTS,
        field.TYPE_BOOL: (False, True),
        field.TYPE_BYTES: (b"", b"\xff"),
        field.TYPE_DOUBLE: (0.0, float("nan")),
        field.TYPE_FLOAT: (0.0, float("nan")),
        field.TYPE_INT64: (0, 1, 2**62, -(2**62)),
        field.TYPE_INT32: (0, 1, -1, 2**31 - 1, -(2**31)),
    }
    return chance.choice(choices.get(field.type, (0, 1, 99)))


@pytest.mark.parametrize("seed", range(150))
async def test_random_request_raises_only_cloud_errors(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible
    for rpc in bench.service.rpcs():
        request = fill(rpc.request(), chance)
        try:
            answer = await rpc.handle(request, ApiCall())
        except CloudError:
            continue
        assert isinstance(answer, rpc.response)
