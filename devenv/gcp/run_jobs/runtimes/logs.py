"""What tasks have written: a file for each attempt, kept for a week."""

import shutil
import time
from pathlib import Path

from devenv.gcp.run_jobs.runtimes.base import Attempt

_KEPT = 7 * 86400  # seconds


def log_of(folder: Path, attempt: Attempt) -> Path:
    return folder / attempt.execution / f"task{attempt.index}-{attempt.number}.log"


def forget_old(folder: Path) -> None:
    for logs in folder.glob("*"):
        if time.time() - logs.stat().st_mtime > _KEPT:
            shutil.rmtree(logs, ignore_errors=True)
