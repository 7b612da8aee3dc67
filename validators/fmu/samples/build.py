"""Build the FMUs of samples and gallery from their sources, for 64-bit Linux with the C compiler `cc`."""

import subprocess
import tempfile
import zipfile
from pathlib import Path

_HERE = Path(__file__).parent
_GALLERY = _HERE.parents[2] / "validibot" / "workflows" / "gallery" / "fmu-room"
_FLAGS = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-s", "-w")
_SAME_BYTES_EVERY_TIME = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    decay = (_HERE / "decay.xml").read_text()
    # The same model, but its rate starts out negative.
    failing = decay.replace('<Real start="1"/>', '<Real start="-1"/>', 1)
    build(_HERE / "decay.fmu", "decay", decay)
    build(_HERE / "failing.fmu", "decay", failing, "-DDEFAULT_RATE=-1.0")
    build(_HERE / "crashing.fmu", "crashing", (_HERE / "crashing.xml").read_text())
    room = (_HERE / "room.xml").read_text()
    # The same room with single glazing and walls without insulation.
    leaky = room.replace('<Real start="120"/>', '<Real start="220"/>')
    build(_GALLERY / "room.fmu", "room", room)
    build(_GALLERY / "leaky-room.fmu", "room", leaky, "-DDEFAULT_LOSS=220.0")


def build(fmu: Path, source: str, description: str, *options: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, f"{source}.so")
        sources = [str(_HERE / f"{source}.c"), "-lm"]
        command = ["cc", *_FLAGS, *options, "-o", str(library), *sources]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(fmu, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, "modelDescription.xml", description.encode())
            _add(archive, f"binaries/linux64/{source}.so", library.read_bytes())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _SAME_BYTES_EVERY_TIME)
    archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
