"""Reading of tables: encoding and dialect are detected, and rows are brought into one form.

Text files and workbooks are copied to a CSV file in UTF-8 with one cell for each column, which the
database then reads in parallel. Python's csv module makes the copy, because it gives each record
its number and line, and structural faults (ragged rows, NUL, huge cells) become findings here.
DuckDB's sniffer detects the dialect; charset-normalizer the encoding, unless a file is UTF-8 or has
a byte order mark.
"""

import codecs
import csv
import re
import zipfile
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import charset_normalizer
import duckdb
from python_calamine import CalamineError, CalamineWorkbook

from validibot.core.echo import echo
from validibot.engines.problems import BadDocument, DocumentProblem
from validibot.engines.tabular.config import TabularConfig

MAX_COLUMNS = 2000
MAX_ROWS = 5_000_000
MAX_CELL = 128 * 1024
MAX_ROW = 1024 * 1024
MAX_UNPACKED = 512 * 1024 * 1024
# Violations of a rule that are listed when MAX_PROBLEMS are listed already.
MAX_EXAMPLES = 10
SAMPLE_BYTES = 256 * 1024
_BATCH = 5000
# Encodings of other scripts. Western texts look alike in many; cp1252 is what spreadsheets write.
_OTHER_ENCODINGS = [
    *("cp1251", "cp1253", "cp1255", "cp1256", "cp932", "gb18030", "big5", "cp949"),
    *("utf_16_le", "utf_16_be"),
]
# References in the last columns, rows of seven digits, and what is beyond. The last cell of a sheet is
# XFD1048576 (limits of Excel), and a reader takes memory or time for all cells up to the furthest.
_FAR_CELL = re.compile(
    rb"""<(?:\w+:)?c\s(?:[^<>]*\s)?r\s*=\s*["']((?:[A-Z]{4,}|[X-Z][A-Z]{2}|(?=[A-Z]*[0-9]{7}))[A-Z]*)"""
    rb"""([0-9]*)["']""",
    re.IGNORECASE,
)
_LAST_COLUMN, _LAST_ROW = "XFD", 1_048_576
_OVERLAP = 1024  # bytes of an element that may lie in two chunks
_DELIMITERS = ",;\t|"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(slots=True)
class TableFacts:
    """The form of a table, as it was found: the outputs of the step, and the names of the columns."""

    format: str
    names: list[str] = field(default_factory=list)
    rows: int = 0
    encoding: str = ""
    delimiter: str = ""
    quote: str = ""
    sheet: str = ""
    header_rows: int = 1
    # Where a record begins a line later than its number says: numbers of records, and of lines.
    breaks: list[int] = field(default_factory=list)
    shifts: list[int] = field(default_factory=list)
    ragged: int = 0
    problems: list[DocumentProblem] = field(default_factory=list)

    def line(self, row: int) -> int | None:
        """Return the line of a row of a text file; rows count from 0."""
        if self.format not in ("csv", "tsv"):
            return None
        index = bisect_right(self.breaks, row) - 1
        return row + 1 + self.header_rows + (self.shifts[index] if index >= 0 else 0)

    def note_line(self, row: int, line: int) -> None:
        """Remember the line of a row if it is not the one after that of the row before."""
        shift = line - row - 1 - self.header_rows
        if shift != (self.shifts[-1] if self.shifts else 0):
            self.breaks.append(row)
            self.shifts.append(shift)


def refuse(message: str, code: str, *, line: int | None = None) -> BadDocument:
    """Return the exception for a table that cannot be read."""
    return BadDocument(DocumentProblem(message, code=code, line=line))


def kind_of(path: Path, filename: str) -> str:
    """Return csv, tsv, xlsx or parquet, by the first bytes and else by the name of a file."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"PK\x03\x04"):
        return "xlsx"
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        message = f"{filename} is an old or encrypted workbook. Save it as XLSX without a password, or as CSV."
        raise refuse(message, "table.workbook")
    if not start.strip():
        raise refuse("The file is empty.", "document.empty")
    return "tsv" if filename.lower().endswith((".tsv", ".tab")) else "csv"


def copy_table(source: Path, target: Path, kind: str, config: TabularConfig) -> TableFacts:
    """Copy a text file or workbook to a CSV file in UTF-8. Raises BadDocument."""
    facts = TableFacts(kind)
    if kind == "xlsx":
        _copy_records(_workbook(source, config, facts), target, config, facts)
        return facts
    facts.encoding = config.encoding or _encoding(source)
    _detect_dialect(source, target, kind, config, facts)
    csv.field_size_limit(MAX_CELL)
    with source.open(encoding=facts.encoding, newline="") as text:
        lines = _lines(text, facts)
        reader = csv.reader(
            lines, delimiter=facts.delimiter, quotechar=facts.quote or None, strict=False
        )
        try:
            _copy_records(_numbered(reader), target, config, facts)
        except csv.Error as error:
            is_huge = "limit" in str(error)
            reason = f"a cell has more than {MAX_CELL:,} characters" if is_huge else str(error)
            hint = "; a quotation mark may not be closed" if is_huge else ""
            raise refuse(
                f"The table cannot be read: {reason}{hint}.", "table.invalid", line=reader.line_num
            ) from None
        except UnicodeDecodeError as error:
            message = (
                f"The file is not encoded in {facts.encoding}: byte {error.object[error.start]:#04x}."
                " Set the encoding, or save the file as UTF-8."
            )
            raise refuse(message, "document.encoding", line=reader.line_num + 1) from None
    return facts


def _encoding(source: Path) -> str:
    """Return the encoding of a text file."""
    with source.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
        for mark, name in _MARKS:
            if start.startswith(mark):
                return name
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(start)
            while chunk := file.read(1024 * 1024):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            # The part with the foreign bytes tells the encoding.
            start += error.object[max(0, error.start - 10_000) : error.start + 10_000]
        else:
            return "utf-8"
    best = charset_normalizer.from_bytes(start, cp_isolation=_OTHER_ENCODINGS).best()
    return best.encoding if best and best.coherence > 0 else "cp1252"


def _lines(text: Any, facts: TableFacts) -> Iterator[str]:
    """Yield lines of bounded length without NUL. Raises BadDocument."""
    number = 0
    while line := text.readline(MAX_ROW):
        number += 1
        if "\0" in line:
            message = "The file has a NUL character, so it is no text file in this encoding"
            raise refuse(f"{message} ({facts.encoding}).", "table.nul", line=number)
        if len(line) == MAX_ROW:
            message = f"A row has more than {MAX_ROW:,} characters."
            raise refuse(message, "table.row_too_long", line=number)
        yield line


def _detect_dialect(
    source: Path, target: Path, kind: str, config: TabularConfig, facts: TableFacts
) -> None:
    """Set delimiter and quotation mark, by DuckDB's sniffer on the beginning of the file."""
    facts.delimiter, facts.quote = config.delimiter or ("\t" if kind == "tsv" else ","), '"'
    with source.open(encoding=facts.encoding, errors="replace", newline="") as text:
        sample = text.read(SAMPLE_BYTES)
    whole, _, _ = sample.rpartition("\n")
    sample = (whole or sample).replace("\0", "")
    header = sample.lstrip().split("\n", 1)[0]
    if config.delimiter:
        return
    counts = {mark: header.count(mark) for mark in _DELIMITERS}
    if max(counts.values()) > MAX_COLUMNS:
        return  # too many columns, which the sniffer takes minutes for
    found = _sniffed(sample, target)
    if found and found[0] in header:
        facts.delimiter, quote = found
        facts.quote = "'" if quote == "'" and '"' not in sample else '"'
    elif any(counts.values()):  # the sniffer gives up on ragged rows
        facts.delimiter = max(counts, key=counts.__getitem__)


def _sniffed(sample: str, target: Path) -> tuple[str, str] | None:
    """Return delimiter and quotation mark of a sample, if DuckDB finds them."""
    target.write_text(sample, encoding="utf-8", newline="")
    with suppress(duckdb.Error), duckdb.connect() as database:
        row = database.execute(
            "SELECT Delimiter, Quote FROM sniff_csv(?, sample_size = 2000)", [str(target)]
        ).fetchone()
        return (row[0], row[1]) if row and len(row[0]) == 1 else None
    return None


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not empty with the line where it begins."""
    line = 1
    for record in reader:
        if record:
            yield line, record
        line = reader.line_num + 1


def _workbook(
    source: Path, config: TabularConfig, facts: TableFacts
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a sheet as texts. Raises BadDocument."""
    _check_archive(source)
    try:
        workbook = CalamineWorkbook.from_path(source)
        names = workbook.sheet_names
        facts.sheet = config.sheet or names[0]
        if facts.sheet not in names:
            message = f"The workbook has no sheet {echo(facts.sheet)}; it has: {', '.join(names)}."
            raise refuse(message, "table.sheet")
        rows = workbook.get_sheet_by_name(facts.sheet).iter_rows()
        for number, row in enumerate(rows, start=1):
            if any(cell != "" for cell in row):
                yield number, [_cell(cell) for cell in row]
    except (CalamineError, IndexError, OSError, ValueError) as error:
        raise refuse(f"The workbook cannot be read: {error}.", "table.workbook") from None


def _check_archive(source: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise refuse(f"The workbook is damaged: {error}.", "table.workbook") from None
    if size > MAX_UNPACKED:
        message = (
            f"The workbook has {size // 2**20:,} MB unpacked; at most {MAX_UNPACKED // 2**20} MB are"
            " read. Save the sheet as CSV."
        )
        raise refuse(message, "document.too_large")
    if "[Content_Types].xml" not in names:
        raise refuse("The file is an archive but no workbook (XLSX).", "table.workbook")
    _check_references(source)


def _check_references(source: Path) -> None:
    """Refuse a workbook with a cell that no sheet has. Raises BadDocument."""
    try:
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                with archive.open(name) as part:
                    if cell := impossible_cell(part):
                        message = (
                            f"{name[:100]} has a cell {cell[:40]}, and the last cell of a sheet is"
                            f" {_LAST_COLUMN}{_LAST_ROW}. Correct its reference, or save the sheet as"
                            " CSV."
                        )
                        raise refuse(message, "table.workbook")
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, RuntimeError) as error:
        # Encrypted members are a RuntimeError.
        raise refuse(f"The workbook is damaged: {error}.", "table.workbook") from None


def impossible_cell(part: IO[bytes]) -> str | None:
    """Return the first cell of a workbook's part that is beyond the last one of a sheet, or None."""
    tail = b""
    while chunk := part.read(1 << 20):
        for found in _FAR_CELL.finditer(tail + chunk):
            column, row = found[1].decode().upper(), found[2].lstrip(b"0")
            too_far = (len(column), column) > (len(_LAST_COLUMN), _LAST_COLUMN)
            if too_far or len(row) > 7 or int(row or b"0") > _LAST_ROW:
                return column + found[2].decode()
        tail = chunk[-_OVERLAP:]
    return None


def _cell(value: Any) -> str:
    match value:
        case str():
            return value.replace("\0", "")
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _copy_records(
    records: Iterable[tuple[int, list[str]]],
    target: Path,
    config: TabularConfig,
    facts: TableFacts,
) -> None:
    """Write the rows to a CSV file, with as many cells as there are columns."""
    records = iter(records)
    line, first = next(records, (1, []))
    if len(first) > MAX_COLUMNS:
        message = f"The table has {len(first):,} columns; at most {MAX_COLUMNS:,} are read."
        raise refuse(message, "table.too_many_columns", line=line)
    if not first:
        raise refuse("The table has no rows.", "document.empty")
    with target.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if config.header:
            facts.names = _header(first, facts, line)
            facts.header_rows = line
        else:
            names = [column.name for column in config.columns]
            names += [f"column {number}" for number in range(len(names) + 1, len(first) + 1)]
            facts.names, facts.header_rows = names[: len(first)], line - 1
            records = _with_first((line, first), records)
        _copy_rows(records, writer, facts)


def _with_first[T](first: T, others: Iterator[T]) -> Iterator[T]:
    yield first
    yield from others


def _copy_rows(records: Iterator[tuple[int, list[str]]], writer: Any, facts: TableFacts) -> None:
    width, batch = len(facts.names), []
    for row, (line, record) in enumerate(records):
        if line - row - 1 - facts.header_rows or facts.breaks:
            facts.note_line(row, line)
        is_fit = len(record) == width
        batch.append(record if is_fit else _fit(record, width, row, line, facts))
        if len(batch) == _BATCH:
            writer.writerows(batch)
            batch = []
            if row >= MAX_ROWS:
                message = f"The table has more than {MAX_ROWS:,} rows. Split it."
                raise refuse(message, "table.too_many_rows")
        facts.rows = row + 1
    writer.writerows(batch)


def _fit(record: list[str], width: int, row: int, line: int, facts: TableFacts) -> list[str]:
    """Return a ragged record with `width` cells, and note the problem."""
    facts.ragged += 1
    if facts.ragged <= MAX_EXAMPLES:
        message = (
            f"row {row + 1} has {len(record)} cells; the header has {width}. Add or remove delimiters,"
            " or put the cell in quotation marks."
        )
        at = line if facts.format != "xlsx" else None
        facts.problems.append(
            DocumentProblem(message, code="table.ragged", path=f"/{row + 1}", line=at)
        )
    return [*record[:width], *[""] * (width - len(record))]


def _header(cells: list[str], facts: TableFacts, line: int) -> list[str]:
    """Return unique names of all columns, and note names that are missing or repeated."""
    names = [cell.strip() or f"column {number}" for number, cell in enumerate(cells, start=1)]
    counts = Counter(names)
    repeated = [name for name, count in counts.items() if count > 1]
    for name in repeated[:MAX_EXAMPLES]:
        message = f"The header has {counts[name]} columns {echo(name)}; names must be unique."
        facts.problems.append(DocumentProblem(message, code="table.column_repeated", line=line))
    seen: Counter[str] = Counter()
    for index, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[index] = f"{name} ({seen[name]})"
    return names
