"""Child program that loads the FMU's native code: reads a job, writes an answer, or crashes.

Run by path and isolated from the environment, so it imports nothing of ours.
"""

import json
import struct
import sys
from pathlib import Path
from typing import Any

from fmpy import simulate_fmu
from fmpy.fmi1 import FMICallException
from fmpy.model_description import ValidationError


def main(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    (folder / "answer.json").write_text(json.dumps(_answer(job, progress=folder / "progress")))


def _answer(job: dict[str, Any], *, progress: Path) -> dict[str, Any]:
    with progress.open("wb", buffering=0) as file:

        def step_finished(time: float, _: object) -> bool:
            file.seek(0)
            file.write(struct.pack("d", time))
            return True

        try:
            samples = simulate_fmu(**job, remote_platform=None, step_finished=step_finished)
        except FMICallException as error:
            return {"code": "FMU_CALL_FAILED", "text": str(error)}
        except ValidationError as error:
            return {"code": "FMU_INVALID_MODEL_DESCRIPTION", "text": str(error)}
        except MemoryError:
            return {"code": "FMU_OUT_OF_MEMORY", "text": "The simulation ran out of memory."}
        except Exception as error:  # noqa: BLE001 - fmpy raises bare Exceptions about the FMU
            return {"code": "FMU_SIMULATION_FAILED", "text": f"{error}"}
    last = samples[-1]
    values = {name: _plain(last[name]) for name in samples.dtype.names or () if name != "time"}
    return {"values": values, "time": float(last["time"])}


def _plain(value: Any) -> Any:
    plain = value.tolist()
    return plain.decode(errors="replace") if isinstance(plain, bytes) else plain


if __name__ == "__main__":
    main(Path(sys.argv[1]))
