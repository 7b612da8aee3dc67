"""Memory of a process, from the kernel's summary of its mappings."""

from pathlib import Path
from typing import Literal


def pss(pid: int) -> float:
    """Return the proportional set size of a process in MB: shared pages count in part."""
    return _kilobytes(pid, "Pss") / 1024


def rss(pid: int) -> float:
    """Return the resident set size of a process in MB."""
    return _kilobytes(pid, "Rss") / 1024


def peak(pid: int | Literal["self"] = "self") -> float:
    """Return the most that was resident of a process so far, in MB.

    `getrusage` says more where a larger process started this one: its figure outlives an exec.
    """
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def _kilobytes(pid: int, name: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    return int(text.partition(f"\n{name}:")[2].split()[0])
