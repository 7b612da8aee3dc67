"""Child program that applies a stylesheet to a document with Saxon: `transform.py FOLDER MEMORY_MB`.

Reads `rules.xsl` and `document.xml`, and writes `report.xml`, or `problem.json` with the phase
(`compile`, `run` or `size`) and the text of what went wrong. Neither files nor network can be reached
from XSLT: no protocol of addresses is allowed, and no extension functions are.
"""

import json
import resource
import sys
from pathlib import Path

from saxonche import PySaxonApiError, PySaxonProcessor

_FEATURE = "http://saxon.sf.net/feature/"
_REPORT_LIMIT = 64 << 20


def main(folder: Path, memory_mb: int) -> int:
    # Saxon reserves 32 GiB of addresses, so the limit is on the memory that is written to.
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))
    with PySaxonProcessor(license=False) as saxon:
        saxon.set_configuration_property(f"{_FEATURE}allowedProtocols", "")
        saxon.set_configuration_property(f"{_FEATURE}allow-external-functions", "false")
        phase = "compile"
        try:
            rules = (folder / "rules.xsl").read_text(encoding="utf-8")
            stylesheet = saxon.new_xslt30_processor().compile_stylesheet(stylesheet_text=rules)
            phase = "run"
            text = (folder / "document.xml").read_text(encoding="utf-8")
            report = stylesheet.transform_to_string(xdm_node=saxon.parse_xml(xml_text=text)) or ""
        except PySaxonApiError as error:
            _write(folder, phase, str(error))
            return 0
        engine = saxon.version
    content = report.encode()
    if len(content) > _REPORT_LIMIT:
        _write(folder, "size", f"{len(content)}")
        return 0
    (folder / "report.xml").write_bytes(content)
    (folder / "engine").write_text(engine, encoding="utf-8")
    return 0


def _write(folder: Path, phase: str, text: str) -> None:
    (folder / "problem.json").write_text(json.dumps({"phase": phase, "text": text[:20_000]}))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
