"""Schedules: unix-cron on the wall clock of a time zone."""

import datetime as dt
import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from devenv.gcp.errors import InvalidArgument, Unimplemented

_CRON = re.compile(r"[0-9A-Za-z*/,-]+(\s+[0-9A-Za-z*/,-]+){4}")
_EXTENSION = re.compile(r"(^|[\s,0-9])L", re.IGNORECASE)  # "last": cronsim's, not unix-cron's
_ENGLISH = re.compile(r"\s*(every|[0-9]+[a-z]{2}|first|second|third)\b", re.IGNORECASE)
_UTC = ("", "utc", "etc/utc")  # "utc" is documented; none of them needs a tz database
_AROUND = 3 * 3600.0  # seconds; no clock is put forward or back by more


class Schedule:
    """A nominal time that does not exist is skipped, one that happens twice fires twice."""

    def __init__(self, expression: str, time_zone: str) -> None:
        """Parse a schedule. Raises InvalidArgument if it, or its time zone, is invalid."""
        if _ENGLISH.match(expression):
            raise Unimplemented("English-like schedules are not emulated; use unix-cron.")
        self._expression = expression.strip()
        short = len(expression) <= 500 and _CRON.fullmatch(self._expression)
        if not short or _EXTENSION.search(self._expression):
            raise InvalidArgument("Schedule or time zone is invalid.")
        self._zone: dt.tzinfo
        try:
            self._zone = dt.UTC if time_zone.lower() in _UTC else ZoneInfo(time_zone)
            self._nominals(0.0)
        except (KeyError, OSError, ValueError, CronSimError) as error:
            raise InvalidArgument("Schedule or time zone is invalid.") from error

    def after(self, moment: float) -> float | None:
        """Return the first moment later than `moment` at which it fires, None for never."""
        best: float | None = None
        for nominal in self._nominals(moment):
            moments = self._moments(nominal)
            if best is not None and moments and moments[0] >= best:
                break
            later = [each for each in moments if each > moment]
            best = min(later if best is None else [best, *later], default=None)
        return best

    def _nominals(self, moment: float) -> Iterator[dt.datetime]:
        """Yield wall clock times, from before an hour that is repeated around `moment` on."""
        earlier, now, later = (self._local(moment + by) for by in (-_AROUND, 0.0, _AROUND))
        repeated = max(earlier.utcoffset() - later.utcoffset(), dt.timedelta())  # type: ignore[operator]
        return iter(CronSim(self._expression, now.replace(tzinfo=None) - repeated))

    def _moments(self, nominal: dt.datetime) -> list[float]:
        """Return when the clock shows `nominal`: once; twice; or never, when it is put forward."""
        moments = {nominal.replace(tzinfo=self._zone, fold=f).timestamp() for f in (0, 1)}
        return sorted(m for m in moments if self._local(m).replace(tzinfo=None, fold=0) == nominal)

    def _local(self, moment: float) -> dt.datetime:
        return dt.datetime.fromtimestamp(moment, self._zone)
