"""`init`: write a first devenv.toml for this folder."""

from pathlib import Path

from devenv.cli import guess
from devenv.cli.output import CliOutput
from devenv.config import FILE, load


def run(root: Path, output: CliOutput) -> int:
    """Write devenv.toml, and say what it was guessed from. An existing file stays as it is."""
    file = root / FILE
    if file.exists():
        output.fail(f"{file} exists. Nothing was changed.", hint=f"edit {FILE}, or devenv up")
        return 1
    found = guess.look(root)
    file.write_text(guess.write(found), encoding="utf-8")
    load(root)
    lines = [f"  {FILE} has these services. Check them, then: devenv up", ""]
    output.result(
        {"file": str(file), "guesses": found.reasons},
        "\n".join([*lines, *(f"    {reason}" for reason in found.reasons), ""]),
    )
    return 0
