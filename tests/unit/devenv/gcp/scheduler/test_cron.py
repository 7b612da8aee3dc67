"""When schedules fire."""

import datetime as dt
from contextlib import suppress
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from devenv.gcp.errors import CloudError, InvalidArgument
from devenv.gcp.scheduler.limits import Schedule

NEW_YORK = "America/New_York"


def moment(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def fires(schedule: Schedule, start: float, times: int) -> list[str]:
    found = []
    for _ in range(times):
        start = schedule.after(start) or 0.0
        found.append(dt.datetime.fromtimestamp(start, dt.UTC).isoformat()[:16])
    return found


def test_schedule_fires_by_clock_of_its_time_zone() -> None:
    noon = Schedule("0 12 * * 1-5", NEW_YORK)
    assert fires(noon, moment("2026-01-01T00:00"), 3) == [
        *("2026-01-01T17:00", "2026-01-02T17:00", "2026-01-05T17:00")
    ]


def test_after_excludes_given_moment() -> None:
    every = Schedule("* * * * *", "")
    now = moment("2026-01-01T00:00")
    assert every.after(now) == now + 60
    assert every.after(now - 0.001) == now


def test_skipped_hour_does_not_fire() -> None:
    nightly = Schedule("30 2 * * *", NEW_YORK)
    assert fires(nightly, moment("2026-03-07T12:00", NEW_YORK), 1) == ["2026-03-09T06:30"]


def test_repeated_hour_fires_twice() -> None:
    nightly = Schedule("30 1 * * *", NEW_YORK)
    assert fires(nightly, moment("2026-10-31T12:00", NEW_YORK), 3) == [
        *("2026-11-01T05:30", "2026-11-01T06:30", "2026-11-02T06:30")
    ]


def test_half_hourly_schedule_is_regular_across_clock_change() -> None:
    schedule = Schedule("*/30 * * * *", NEW_YORK)
    for start in (moment("2026-11-01T03:00"), moment("2026-03-08T05:00")):
        now = start
        for step in range(1, 12):
            now = schedule.after(now) or 0.0
            assert now == start + step * 1800


@given(
    start=st.floats(1.6e9, 2.0e9),
    zone=st.sampled_from([NEW_YORK, "Europe/Vienna", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_minutely_schedule_fires_every_minute_in_every_zone(start: float, zone: str) -> None:
    following = Schedule("* * * * *", zone).after(start)
    assert following == (start // 60 + 1) * 60


@pytest.mark.parametrize(
    "text", ["", "* * * *", "* * * * * *", "60 * * * *", "0 0 L * *", "0 0 30 2 *", "@daily", "🕐"]
)
def test_invalid_cron_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Schedule(text, "UTC")


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "../../etc/passwd", "/etc/passwd", "\0", "a" * 300]
)
def test_invalid_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidArgument):
        Schedule("* * * * *", zone)


@given(st.text(alphabet="0123456789*/,-LW#JANMON @\n", max_size=30), st.text(max_size=10))
def test_random_schedule_raises_only_cloud_errors(text: str, zone: str) -> None:
    for name in ("UTC", zone):
        with suppress(CloudError):
            Schedule(text, name).after(1.8e9)
