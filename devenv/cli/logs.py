"""`logs`: what services wrote, and what they write, chosen by time, severity and pattern."""

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.cli.output import show_log_line
from devenv.stack.logfile import Follower, LogLevel, pause, read
from devenv.stack.loglines import LogFilter
from devenv.stack.problems import UsageProblem

_AGO = re.compile(r"(\d+)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DEFAULT_LINES = 40


@dataclass(frozen=True, slots=True)
class LogChoice:
    """Which lines of a log are shown: `since` is a Unix time, 0 without one."""

    since: float
    count: int | None
    level: LogLevel
    pattern: re.Pattern[str] | None

    @classmethod
    def parse(cls, *, since: str, lines: int | None, level: LogLevel, grep: str) -> Self:
        """Return the choice that options describe. Raises UsageProblem."""
        default = None if since else _DEFAULT_LINES
        return cls(
            since=moment(since) if since else 0.0,
            count=default if lines is None else lines,
            level=level,
            pattern=_pattern(grep) if grep else None,
        )

    def docker_options(self, *, follow: bool) -> list[str]:
        """Return the options of `docker compose logs`; it must not leave out what may pass."""
        filtered = self.pattern is not None or self.level is not LogLevel.DEBUG
        count = "all" if filtered or self.count is None else str(self.count)
        since = ["--since", str(int(self.since))] if self.since else []
        return ["--tail", count, *since, *(["--follow"] if follow else [])]

    def filters(self, names: Sequence[str]) -> dict[str, LogFilter]:
        return {name: LogFilter(level=self.level, pattern=self.pattern) for name in names}


def run(context: Context, *, services: list[str], follow: bool, **options: Any) -> int:
    """Print the lines that `options` choose: those of `LogChoice.parse`."""
    choice = LogChoice.parse(**options)
    if project := compose.find(context):
        asked = choice.docker_options(follow=follow)
        return compose.logs(
            context, project, services=services, options=asked, filters=choice.filters
        )
    return _files(context, services, choice, follow=follow)


def moment(text: str, *, now: Callable[[], float] = time.time) -> float:
    """Return the Unix time of `10m`, `2h`, `14:05` or an ISO time. Raises UsageProblem."""
    if found := _AGO.fullmatch(text.strip()):
        return now() - int(found[1]) * _SECONDS[found[2]]
    try:
        if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", text):
            today = datetime.fromtimestamp(now()).astimezone().date()
            return datetime.fromisoformat(f"{today} {text:0>5}").timestamp()
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise UsageProblem(
            f"--since is {text!r:.60}; it must be 30s, 10m, 2h, 1d, 14:05 or 2026-01-31T14:05.",
            hint="devenv logs --since 10m",
        ) from error


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise UsageProblem(
            f"--grep is {text!r:.60}, which is no regular expression: {error}.",
            hint="escape it: \\( \\[ \\*",
        ) from error


def _files(context: Context, services: list[str], choice: LogChoice, *, follow: bool) -> int:
    written = {path.stem for path in context.config.logs.glob("*.log")}
    known = sorted(written | set(context.state().services))  # a service may have written nothing
    names = services or known
    if unknown := sorted(set(names) - set(known)):
        context.output.fail(
            f"There is no log of {unknown[0]}; there is {', '.join(known) or 'none'}."
        )
        return 2
    paths = {name: context.config.logs / f"{name}.log" for name in names}
    followers = {name: Follower(path) for name, path in paths.items()}
    filters = choice.filters(names)
    alone = len(names) == 1
    for name, path in paths.items():
        old = (line for line in read(path, since=choice.since) if filters[name].passes(line))
        for line in deque(old, maxlen=choice.count):
            show_log_line(context.output, name, line, alone=alone)
    while follow:
        for name, follower in followers.items():
            for line in follower.new_lines():
                if filters[name].passes(line):
                    show_log_line(context.output, name, line, alone=alone)
        pause()
    return 0
