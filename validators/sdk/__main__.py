"""Run a validator without a platform: `python -m validators.sdk FOLDER [FILE [INPUTS]]`.

Without FILE, run every sample of the folder's manifest and compare the verdict with the manifest.
With FILE, validate that file and print the output envelope. INPUTS is the JSON object of the step's
options. Secrets of the manifest are taken from the environment variables of their names.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from validators.sdk.environment import read_secret
from validators.sdk.manifest import ManifestInvalid, ValidatorManifest, read_manifest
from validators.sdk.testing import write_envelope


def main(arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 3:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    folder, *rest = arguments
    try:
        manifest = read_manifest(Path(folder))
        _check_secrets(manifest)
        return _try_file(manifest, *rest) if rest else _try_samples(manifest)
    except (ManifestInvalid, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _check_secrets(manifest: ValidatorManifest) -> None:
    """Raise ManifestInvalid if the environment lacks a secret, which the child process inherits."""
    for name in manifest.secrets:
        try:
            read_secret(name)
        except KeyError:
            raise ManifestInvalid(f"`secrets.{name}`: set the variable {name} to try it.") from None


def _try_file(manifest: ValidatorManifest, file: str, inputs: str = "{}") -> int:
    output = run(manifest, Path(file), json.loads(inputs))
    sys.stdout.write(json.dumps(output, indent=2) + "\n")
    return 0 if output.get("status") == "success" else 1


def _try_samples(manifest: ValidatorManifest) -> int:
    failures = 0
    for sample in manifest.samples:
        status = run(manifest, sample.path, sample.inputs).get("status", "no output")
        expected = {"pass": "success", "fail": "failed_validation"}[sample.expect]
        failures += status != expected
        verdict = "as expected" if status == expected else f"but {expected} is expected"
        sys.stdout.write(f"{sample.name}: {status}, {verdict}\n")
    return 1 if failures else 0


def run(manifest: ValidatorManifest, submission: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """Run the validator's command in a child process; return its output envelope, or {}."""
    program, *arguments = manifest.command
    program = sys.executable if program == "python" else program
    with tempfile.TemporaryDirectory() as folder:
        envelope = write_envelope(Path(folder), manifest, submission, inputs=inputs)
        subprocess.run([program, *arguments, envelope.as_uri()], check=False)
        output = Path(folder, "output.json")
        stored: dict[str, Any] = json.loads(output.read_bytes()) if output.exists() else {}
        return stored


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
