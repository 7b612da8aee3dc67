"""Build the sample FMUs from their sources, for 64-bit Linux with the C compiler `cc`."""

import subprocess
import tempfile
import zipfile
from pathlib import Path

_HERE = Path(__file__).parent
_FLAGS = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-s", "-w")
_SAME_BYTES_EVERY_TIME = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    decay = (_HERE / "decay.xml").read_text()
    # The same model, but its rate starts out negative.
    failing = decay.replace('<Real start="1"/>', '<Real start="-1"/>', 1)
    build("decay.fmu", source="decay", description=decay)
    build("failing.fmu", source="decay", description=failing, options=["-DDEFAULT_RATE=-1.0"])
    build("crashing.fmu", source="crashing", description=(_HERE / "crashing.xml").read_text())


def build(fmu: str, *, source: str, description: str, options: list[str] | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, f"{source}.so")
        sources = [str(_HERE / f"{source}.c"), "-lm"]
        command = ["cc", *_FLAGS, *(options or []), "-o", str(library), *sources]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(_HERE / fmu, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, "modelDescription.xml", description.encode())
            _add(archive, f"binaries/linux64/{source}.so", library.read_bytes())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _SAME_BYTES_EVERY_TIME)
    archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
