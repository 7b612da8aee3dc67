"""How often an issuer is asked for its keys."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.identity.issuer_keys import IssuerKeys, KeysUnavailable

pytestmark = pytest.mark.anyio


class Rotated(IssuerKeys):
    """Keys of one issuer, which publishes `published`; `asked` counts the questions."""

    published: Any = ("k1",)
    asked = 0

    def _fetch(self, issuer: str) -> list[Any]:
        self.asked += 1
        if not self.published:
            raise KeysUnavailable("the issuer gives no JSON")
        return [SimpleNamespace(key_id=kid) for kid in self.published]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys(clock: ManualClock) -> Rotated:
    return Rotated(clock, lambda host: True)


async def find(keys: IssuerKeys, *kids: str) -> list[Any]:
    """Return the ids of the keys, or the errors, of tokens that come at the same time."""
    questions = (keys.find("https://ci", kid) for kid in kids)
    found = await asyncio.gather(*questions, return_exceptions=True)
    return [getattr(each, "key_id", each) for each in found]


async def test_known_keys_are_kept_for_five_minutes(keys: Rotated, clock: ManualClock) -> None:
    assert await find(keys, "k1", "k1", "k1") == ["k1"] * 3
    assert keys.asked == 1
    await clock.turn(301)
    await find(keys, "k1")
    assert keys.asked == 2


async def test_unknown_keys_ask_the_issuer_once_in_ten_seconds(
    keys: Rotated, clock: ManualClock
) -> None:
    refused = await find(keys, *(f"guess-{number}" for number in range(50)))

    assert keys.asked == 1
    assert all(isinstance(each, KeysUnavailable) for each in refused)
    assert "'guess-0' of the token is not one of its issuer" in str(refused[0])

    keys.published = ("k2",)
    await clock.turn(11)
    assert await find(keys, "k2") == ["k2"]


async def test_known_keys_outlive_a_failed_question_until_they_expire(
    keys: Rotated, clock: ManualClock
) -> None:
    await find(keys, "k1")
    keys.published = ()
    await clock.turn(11)
    refused = await find(keys, "k2", "k1")
    assert (str(refused[0]), refused[1]) == ("the issuer gives no JSON", "k1")

    await clock.turn(300)
    assert isinstance((await find(keys, "k1"))[0], KeysUnavailable)


async def test_clock_turned_back_asks_the_issuer_again(keys: Rotated, clock: ManualClock) -> None:
    await find(keys, "k1")
    keys.published = ("k2",)
    clock.lose(3600)

    assert await find(keys, "k2") == ["k2"]


async def test_issuer_without_an_answer_is_asked_once_in_ten_seconds(
    keys: Rotated, clock: ManualClock
) -> None:
    keys.published = ()
    refused = await find(keys, *["k1"] * 50)

    assert keys.asked == 1
    assert {str(each) for each in refused} == {"the issuer gives no JSON"}

    keys.published = ("k1",)
    await clock.turn(11)
    assert await find(keys, "k1") == ["k1"]


@pytest.mark.parametrize(
    "issuer", ["http://elsewhere.example\\@localhost", "http://elsewhere.example", "http://[x"]
)
async def test_issuer_at_another_host_is_not_asked(clock: ManualClock, issuer: str) -> None:
    keys = IssuerKeys(clock, lambda host: host == "localhost")

    with pytest.raises(KeysUnavailable, match=r"not this machine|gives no JSON"):
        await keys.find(issuer, "k1")
