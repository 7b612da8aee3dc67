"""Memory of a process, from the kernel's summary of its mappings."""

from pathlib import Path


def pss(pid: int) -> float:
    """Return the proportional set size of a process in MB: shared pages count in part."""
    return _kilobytes(pid, "Pss") / 1024


def rss(pid: int) -> float:
    """Return the resident set size of a process in MB."""
    return _kilobytes(pid, "Rss") / 1024


def _kilobytes(pid: int, name: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    return int(text.partition(f"\n{name}:")[2].split()[0])
