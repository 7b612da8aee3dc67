"""The commands of the page about validators work as written."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    commands = "\n".join(BLOCK.findall((ROOT / "docs/validators.md").read_text()))
    (tmp_path / "validators").symlink_to(ROOT / "validators")
    path = f"{Path(sys.executable).parent}:{os.defpath}"

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "hamlet: success, as promised" in done.stdout
    assert "no-text: failed_validation, as promised" in done.stdout
