"""Evaluates rules in a child process with a limit on time and memory.

The child reads one JSON object from stdin and answers with one line per rule, so that when it dies
it is known which rule it died of.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from validibot.engines.assertions.expressions import Value
from validibot.engines.assertions.rules import Outcome, Rule, broken, evaluate_here
from validibot.engines.problems import Problem

MAX_SECONDS = 10
MAX_MEMORY = 768 * 1024 * 1024
_ROOT = Path(__file__).parents[3]
_TOO_HEAVY = Value(error="it needs more time or memory than is allowed")
_NOT_REACHED = Value(error="an earlier assertion used up the time or memory")


def evaluate_apart(rules: Sequence[Rule], values: Mapping[str, Any]) -> Iterator[Outcome]:
    request = json.dumps({"rules": [asdict(rule) for rule in rules], "values": values})
    answers = _run(request.encode())
    for number, rule in enumerate(rules):
        if number < len(answers):
            yield Outcome(answers[number], rule.key)
        else:
            reason = _TOO_HEAVY if number == len(answers) else _NOT_REACHED
            yield Outcome(broken(rule, reason, expression=rule.expression), rule.key)


def _run(request: bytes) -> list[Problem | None]:
    command = [sys.executable, "-m", __name__]
    try:
        output = subprocess.run(  # noqa: S603 # our own module
            command,
            input=request,
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=MAX_SECONDS,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as expired:
        output = expired.output or b""
    # The last piece is empty, or a line that was not finished.
    return [_problem(json.loads(line)) for line in output.split(b"\n")[:-1]]


def _problem(fields: dict[str, Any] | None) -> Problem | None:
    return Problem(**fields) if fields else None


def main() -> None:
    with suppress(ValueError, OSError):  # macOS has no limit on the address space
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    request = json.load(sys.stdin.buffer)
    rules = [Rule(**fields) for fields in request["rules"]]
    for outcome in evaluate_here(rules, request["values"]):
        problem = outcome.problem
        sys.stdout.write(json.dumps(asdict(problem) if problem else None) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
