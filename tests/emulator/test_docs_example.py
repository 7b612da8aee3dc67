"""The example of the page about development works as written."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_cloud_serves_another_projects_program(tmp_path: Path) -> None:
    (program,) = BLOCK.findall((ROOT / "docs/development.md").read_text())

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "hello\n", done.stderr
