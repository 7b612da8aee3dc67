"""Client addresses, and limits on failures and requests."""

import pytest
import time_machine
from django.test import RequestFactory
from pytest_django import DjangoAssertNumQueries

from validibot.core.models import FailureCount
from validibot.core.throttle import FailureLimit, RequestLimit, client_address


@pytest.mark.parametrize(
    ("proxies", "header", "expected"),
    [
        (0, "6.6.6.6", "127.0.0.1"),
        (1, "6.6.6.6, 10.1.2.3", "10.1.2.3"),
        (2, "6.6.6.6, 10.1.2.3, 10.0.0.1", "10.1.2.3"),
        (1, "", "127.0.0.1"),
        (1, "x", "127.0.0.1"),
        (3, "10.1.2.3", "127.0.0.1"),
        (1, "2001:db8::0:1", "2001:db8::1"),
    ],
)
def test_forwarded_address_counts_as_far_as_proxies_are_trusted(
    settings: object, proxies: int, header: str, expected: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies  # type: ignore[attr-defined]
    request = RequestFactory().get("/", headers={"X-Forwarded-For": header} if header else {})

    assert client_address(request) == expected


@pytest.mark.django_db
def test_failures_beyond_limit_have_to_wait_until_window_ends() -> None:
    limit = FailureLimit("test", count=2, seconds=60)
    with time_machine.travel(1_000_000_000, tick=False) as clock:
        assert limit.exceeded_after("a") == 0
        clock.shift(20)
        assert [limit.exceeded_after("a") for _ in range(2)] == [0, 40]
        assert limit.exceeded_after("b") == 0
        clock.shift(40)
        assert limit.exceeded_after("a") == 0


@pytest.mark.django_db
def test_failures_are_counted_by_one_query_in_the_database(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(1):
        FailureLimit("test", count=2, seconds=60).exceeded_after("a" * 300)

    assert FailureCount.objects.get().count == 1


@pytest.mark.django_db
def test_request_limit_is_shared_by_instances_until_window_ends() -> None:
    one, other = (RequestLimit("test", count=3, seconds=60) for _ in range(2))
    with time_machine.travel(1_000_000_000, tick=False) as clock:
        left = [limit.use("a").remaining for limit in (one, other, one)]
        clock.shift(20)
        over, other_key = other.use("a"), other.use("b")
        clock.shift(40)
        after = one.use("a")

    assert left == [2, 1, 0]
    assert (over.is_exceeded, over.remaining, over.reset_seconds) == (True, 0, 40)
    assert (other_key.is_exceeded, other_key.remaining) == (False, 2)
    assert (after.is_exceeded, after.remaining) == (False, 2)


@pytest.mark.django_db
def test_large_request_limit_costs_one_query_in_a_hundredth(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    limit = RequestLimit("test", count=500, seconds=60)

    with django_assert_num_queries(2):
        usages = [limit.use("a") for _ in range(10)]

    assert [usage.remaining for usage in usages] == list(range(499, 489, -1))
