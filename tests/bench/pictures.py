"""Memory of the task that makes the sizes of the largest featured image.

`python -m tests.bench.pictures` prints one row for each format: by how much the resident memory of a
process of its own grows.
"""

import io
import subprocess
import sys
from collections.abc import Iterator

from PIL import Image

from tests.bench.memory import peak
from validibot.workflows import pictures

type Row = tuple[str, str, str]

# The side of the largest picture of a format, and the target in MB. A photograph is turned by its
# orientation; a WebP file is decoded as an animation, in several buffers.
_TARGETS = {"JPEG": (5000, 64), "PNG": (5000, 128), "WEBP": (2645, 128)}


def measure() -> Iterator[Row]:
    """Yield the rows of the table of benchmarks."""
    for kind, (side, target) in _TARGETS.items():
        command = [sys.executable, "-m", "tests.bench.pictures", kind]
        grown = subprocess.run(
            command, input=_upload(kind, side), capture_output=True, check=True
        ).stdout
        name = f"Featured image of {side**2 // 1_000_000} megapixels ({kind}): memory to make its sizes"
        yield name, f"{int(grown)} MB", f"≤ {target} MB"


def _upload(kind: str, side: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    target = io.BytesIO()
    picture = Image.linear_gradient("L").resize((side, side)).convert("RGB")
    picture.save(target, kind, exif=exif)
    return target.getvalue()


def _grown() -> int:
    """Return by how many MB the memory of this process grows with the file at its standard input."""
    content = sys.stdin.buffer.read()
    before = peak()
    pictures.make_sizes(content, is_made=False)
    return int(peak() - before)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(_grown())  # noqa: T201
    else:
        for row in measure():
            print(" | ".join(row))  # noqa: T201
