"""Folders that hold parts of this checkout by links."""

import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def link_parts(folder: Path, parts: Iterable[str]) -> None:
    """Link parts of this checkout into a folder.

    Where bytecode is kept apart from the sources, its folders are linked too: Python looks them up by
    the path of the link, and each new folder would compile the product again.
    """
    for part in parts:
        (folder / part).symlink_to(ROOT / part)
        if sys.pycache_prefix and (ROOT / part).is_dir():
            kept = _bytecode(ROOT / part)
            kept.mkdir(parents=True, exist_ok=True)
            linked = _bytecode(folder / part)
            linked.parent.mkdir(parents=True, exist_ok=True)
            if not linked.exists():
                linked.symlink_to(kept)


def _bytecode(path: Path) -> Path:
    return Path(sys.pycache_prefix or "", *path.absolute().parts[1:])
