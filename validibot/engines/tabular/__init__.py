"""Tabular engine: CSV, TSV, XLSX and Parquet against columns, keys, references and row rules.

The table is checked in a child process, where a database holds it on disk (see `load`). Findings
name row, column and value; the first MAX_PROBLEMS are listed, with the true count of each rule.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

from validibot.core.echo import echo
from validibot.engines.base import (
    Document,
    Engine,
    EngineError,
    EngineManifest,
    EnginePort,
    FileType,
    Output,
    Result,
)
from validibot.engines.problems import BadDocument, DocumentProblem
from validibot.engines.sandbox import run_in_child, too_expensive
from validibot.engines.tabular.config import TabularConfig, read_config

MAX_BYTES = 128 * 1024 * 1024
_DONE = "done"
_FAILED = "failed"


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Check a table; `config` is a TabularConfig as JSON. Raises EngineError."""
    try:
        settings = read_config(dict(config), filename=document.filename)
    except ValueError as error:
        raise EngineError(f"The settings of the step are invalid: {error}") from None
    missing = [
        reference.file
        for reference in settings.foreign_keys
        if reference.file and _file(document.files, reference.file) is None
    ]
    if missing:
        names = ", ".join(document.files) or "none"
        message = (
            f"A foreign key refers to the file {echo(missing[0])}, which was not sent. Send it as a further"
            f" file, or add it to the step. The further files are: {names}."
        )
        return Result((DocumentProblem(message, code="table.reference"),))
    with TemporaryDirectory(prefix="tabular-") as folder:
        header = _header(document, settings, Path(folder))
        lines = run_in_child(check_header, header, b"", ENGINE.manifest)
    if lines and _FAILED in lines[-1]:
        raise RuntimeError(lines[-1][_FAILED])
    problems = [DocumentProblem(**line) for line in lines if _DONE not in line]
    if not lines or _DONE not in lines[-1]:
        return Result((*problems, too_expensive(ENGINE.manifest)))
    return Result(tuple(problems), lines[-1][_DONE])


def _file(files: Mapping[str, bytes], name: str) -> str | None:
    """Return the name of a file, by its name with or without extension."""
    wanted = name.casefold()
    found = (each for each in files if wanted in (each.casefold(), PurePath(each).stem.casefold()))
    return next(found, None)


def _header(document: Document, settings: TabularConfig, folder: Path) -> dict[str, Any]:
    """Write the files into a folder, and return what the child process must know."""
    source = folder / "document"
    source.write_bytes(document.content)
    references = {}
    for number, reference in enumerate(settings.foreign_keys):
        name = _file(document.files, reference.file)
        if reference.file and name and reference.file not in references:
            path = folder / f"reference{number}"
            path.write_bytes(document.files[name])
            references[reference.file] = [str(path), name]
    return {
        "folder": str(folder),
        "filename": document.filename,
        "config": settings.model_dump(by_alias=True, mode="json"),
        "references": references,
        "names": dict(document.names),
    }


def check_header(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield each problem, then the outputs. Runs in a child process (see sandbox)."""
    # The database is loaded in the child process only.
    from validibot.engines.tabular.table import check_table  # noqa: PLC0415

    outputs: dict[str, Any] = {}
    try:
        config = TabularConfig.model_validate(header["config"])
        for problem in check_table(header, config, outputs):
            yield asdict(problem)
    except BadDocument as bad:
        yield asdict(bad.problem)
    except MemoryError:
        return
    except Exception as error:  # noqa: BLE001 # the parent raises it
        yield {_FAILED: f"{type(error).__name__}: {error}"}
        return
    yield {_DONE: outputs}


def infer_schema(content: bytes, filename: str) -> dict[str, Any]:
    """Return settings of a Tabular step that a sample satisfies. Raises BadDocument, EngineBusy.

    `columns` have types, and `required`, `unique` and `enum` where the sample speaks for them.
    """
    with TemporaryDirectory(prefix="tabular-") as folder:
        (Path(folder) / "document").write_bytes(content)
        header = {"folder": folder, "filename": filename}
        lines = run_in_child(infer_header, header, b"", ENGINE.manifest)
    if lines and _FAILED in lines[0]:
        raise RuntimeError(lines[0][_FAILED])
    if not lines:
        raise BadDocument(too_expensive(ENGINE.manifest))
    if "problem" in lines[0]:
        raise BadDocument(DocumentProblem(**lines[0]["problem"]))
    settings: dict[str, Any] = lines[0]
    return settings


def infer_header(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield inferred settings, or a problem. Runs in a child process (see sandbox)."""
    from validibot.engines.tabular.infer import infer  # noqa: PLC0415

    try:
        yield infer(Path(header["folder"]), header["filename"])
    except BadDocument as bad:
        yield {"problem": asdict(bad.problem)}
    except MemoryError:
        return
    except Exception as error:  # noqa: BLE001 # the parent raises it
        yield {_FAILED: f"{type(error).__name__}: {error}"}


_TYPES = (
    FileType(".csv", "text/csv"),
    FileType(".tsv", "text/tab-separated-values"),
    FileType(".txt", "text/plain"),
    FileType(".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    FileType(".parquet", "application/vnd.apache.parquet"),
)

ENGINE = Engine(
    EngineManifest(
        slug="tabular",
        title="Tabular",
        description="Checks CSV, TSV, XLSX and Parquet: types, ranges, patterns, keys, references to"
        " other files, and expressions about rows.",
        validation_type="TABULAR",
        version="1",
        accepts=_TYPES,
        outputs=(
            Output("row_count", "Number of rows", "", "row_count"),
            Output("column_count", "Number of columns", "", "column_count"),
            Output("failed_rule_count", "Number of broken rules", "", "failed_rule_count"),
            Output("violation_count", "Number of violations", "", "violation_count"),
            Output("format", "Format", "", "format"),
            Output("encoding", "Encoding", "", "encoding"),
            Output("delimiter", "Delimiter", "", "delimiter"),
            Output("sheet", "Sheet", "", "sheet"),
        ),
        ports=(
            EnginePort(
                "reference_table",
                "table",
                "Table for foreign keys",
                tuple(each.extension for each in _TYPES),
            ),
        ),
        reads_context=True,
        max_bytes=MAX_BYTES,
        seconds=120,
        memory=2 * 1024 * 1024 * 1024,
    ),
    check,
    TabularConfig,
)
