"""Client programs of PostgreSQL, run without a shell."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import IO


class ProgramFailed(Exception):
    """A program of PostgreSQL is missing or failed; the message says why, for the operator."""


def run_program(
    program: str, *arguments: str, environ: Mapping[str, str], stdout: IO[bytes] | None = None
) -> None:
    """Run a program with the variables of libpq in `environ`. Raises ProgramFailed."""
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL's, with our own settings
        [_path(program), *arguments],
        env={"PATH": os.defpath, **environ},
        stdin=subprocess.DEVNULL,
        stdout=stdout or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip()[-2000:]
        raise ProgramFailed(f"{program} failed: {message}")


def major_version(program: str) -> int:
    """Return the major version of a program. Raises ProgramFailed."""
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL's
        [_path(program), "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"\) (\d+)", done.stdout)
    if not found:
        raise ProgramFailed(f"{program} --version answers {done.stdout.strip()[:100]!r}.")
    return int(found[1])


def _path(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise ProgramFailed(
            f"{program} is not installed. Install PostgreSQL's client programs, at least of the"
            " server's version: apt-get install postgresql-client"
        )
    return path
