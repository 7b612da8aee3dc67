"""The example program of docs/library.md."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.checkout import ROOT

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_docs_example_prints_the_object(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "docs/library.md").read_text())
    (program,) = (block for block in blocks if "PROGRAM" in block)

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "hello\n", done.stderr
