"""Reading of tables: encodings, dialects, workbooks, Parquet, and hostile files."""

import io
import zipfile
from pathlib import Path

import duckdb
import pytest

from validibot.engines import BadDocument
from validibot.engines.tabular import read
from validibot.engines.tabular.config import TabularConfig
from validibot.engines.tabular.load import load_table, open_database
from validibot.engines.tabular.read import TableFacts, impossible_cell

CONTENT_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument'
    '.spreadsheetml.sheet.main+xml"/></Types>'
)
RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{}"'
    ' Target="{}"/></Relationships>'
)
WORKBOOK = (
    '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    ' xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="Data" sheetId="1" r:id="rId1"/></sheets></workbook>'
)


def workbook(rows: list[list[str | float]], *, padding: int = 0, first_cell: str = "A1") -> bytes:
    """Return a small XLSX file; `padding` bytes of zeros are added, packed."""
    cells = ""
    for number, row in enumerate(rows, start=1):
        cells += f'<row r="{number}">'
        for column, value in zip("ABCDEFGH", row, strict=False):
            kind = ' t="inlineStr"' if isinstance(value, str) else ""
            shown = f"<is><t>{value}</t></is>" if isinstance(value, str) else f"<v>{value}</v>"
            cells += f'<c r="{column}{number}"{kind}>{shown}</c>'
        cells += "</row>"
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        f"{cells}</sheetData></worksheet>"
    ).replace('"A1"', f'"{first_cell}"')
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", CONTENT_TYPES)
        archive.writestr("_rels/.rels", RELATIONS.format("officeDocument", "xl/workbook.xml"))
        archive.writestr("xl/workbook.xml", WORKBOOK)
        relations = RELATIONS.format("worksheet", "worksheets/sheet1.xml")
        archive.writestr("xl/_rels/workbook.xml.rels", relations)
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
        if padding:
            archive.writestr("xl/media/a.bin", bytes(padding))
    return content.getvalue()


def load(
    folder: Path, content: bytes, name: str = "a.csv", config: TabularConfig | None = None
) -> tuple[TableFacts, list[tuple[object, ...]]]:
    path = folder / "document"
    path.write_bytes(content)
    with open_database(folder) as database:
        facts = load_table(database, "data", path, name, config or TabularConfig())
        return facts, database.execute("SELECT * FROM data ORDER BY rowid").fetchall()


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("cp1252", "cp1252"),
    ],
)
def test_encoding_is_detected(tmp_path: Path, encoding: str, found: str) -> None:
    text = "straße,größe\n" + "Zürich + €,ä\n" * 50
    facts, rows = load(tmp_path, text.encode(encoding))

    assert facts.encoding == found
    assert facts.names == ["straße", "größe"]
    assert rows[0] == ("Zürich + €", "ä")


def test_encoding_of_another_script_is_detected(tmp_path: Path) -> None:
    text = "имя,город\n" + "Юрий Живаго,Пермь\nИлья Ильич,Петербург\n" * 30
    facts, _ = load(tmp_path, text.encode("cp1251"))

    assert (facts.encoding, facts.names) == ("cp1251", ["имя", "город"])


@pytest.mark.parametrize(
    ("text", "name", "delimiter", "rows"),
    [
        ("a,b\n1,2\n", "a.csv", ",", [("1", "2")]),
        ("a;b\r\n1,5;2\r\n", "a.csv", ";", [("1,5", "2")]),
        ("a\tb\n1\t2\n", "a.tsv", "\t", [("1", "2")]),
        ("a|b\n1|2\n3|4\n", "a.txt", "|", [("1", "2"), ("3", "4")]),
        ("a\n1\n", "a.csv", ",", [("1",)]),
        ('a,b\n"x, ""y""\nz",2\n\n,\n', "a.csv", ",", [('x, "y"\nz', "2"), (None, None)]),
    ],
)
def test_dialect_is_detected(
    tmp_path: Path, text: str, name: str, delimiter: str, rows: list[tuple[str | None, ...]]
) -> None:
    facts, found = load(tmp_path, text.encode(), name)

    assert (facts.delimiter, found) == (delimiter, rows)


def test_rows_keep_their_lines_after_line_breaks_in_cells(tmp_path: Path) -> None:
    facts, _ = load(tmp_path, b'a,b\n1,"x\ny"\n2,3\n\n4,"\n"\n5,6\n')

    assert [facts.line(row) for row in range(4)] == [2, 4, 6, 8]


def test_ragged_rows_are_padded_and_reported(tmp_path: Path) -> None:
    facts, rows = load(tmp_path, b"a,b\n1\n1,2,3\n4,5\n")

    assert rows == [("1", None), ("1", "2"), ("4", "5")]
    assert [problem.message.partition(".")[0] for problem in facts.problems] == [
        "row 1 has 1 cells; the header has 2",
        "row 2 has 3 cells; the header has 2",
    ]
    assert facts.problems[1].line == 3


def test_repeated_and_empty_names_are_told_apart(tmp_path: Path) -> None:
    facts, _ = load(tmp_path, b"a,,a\n1,2,3\n")

    assert facts.names == ["a", "column 2", "a (2)"]
    assert [problem.code for problem in facts.problems] == ["table.column_repeated"]


def test_workbook_is_read_as_text(tmp_path: Path) -> None:
    content = workbook([["id", "kwh"], ["M-1", 2.0], ["M-2", 0.25]])
    facts, rows = load(tmp_path, content, "a.xlsx")

    assert (facts.format, facts.sheet, facts.names) == ("xlsx", "Data", ["id", "kwh"])
    assert rows == [("M-1", "2"), ("M-2", "0.25")]


def test_parquet_is_read_as_text(tmp_path: Path) -> None:
    source = str(tmp_path / "a.parquet")
    duckdb.execute(
        "COPY (SELECT 1 AS id, 2.5 AS kwh, true AS ok, DATE '2026-01-31' AS d, ''  AS empty,"
        " TIMESTAMP '2026-01-31 12:00' AS t, TIMESTAMPTZ '2026-01-31 12:00Z' AS z, [1] AS l)"
        f" TO '{source}'"
    )
    facts, rows = load(tmp_path, Path(source).read_bytes(), "a.parquet")

    assert facts.format == "parquet"
    assert rows == [
        (
            "1",
            "2.5",
            "true",
            "2026-01-31",
            None,
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00Z",
            "[1]",
        )
    ]


@pytest.mark.parametrize(
    ("content", "name", "code", "message"),
    [
        (b"", "a.csv", "document.empty", "The file is empty."),
        (b"\n\n\n", "a.csv", "document.empty", "The file is empty."),
        (b"a,b\n1,\x00\n", "a.csv", "table.nul", "NUL character, so it is no text file"),
        (b"," * 1_000_000, "a.csv", "table.too_many_columns", "1,000,001 columns; at most 2,000"),
        (b"a\n" + b"x" * 200_000, "a.csv", "table.invalid", "a cell has more than 131,072"),
        (b'a\n"' + b"x\n" * 200_000, "a.csv", "table.invalid", "quotation mark may not be closed"),
        (
            b"a\n" + b"x," * 1_000_000,
            "a.csv",
            "table.row_too_long",
            "more than 1,048,576 characters",
        ),
        (b"PK\x03\x04 no", "a.xlsx", "table.workbook", "The workbook is damaged"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "a.xls",
            "table.workbook",
            "old or encrypted workbook",
        ),
        (b"PAR1 no", "a.parquet", "table.parquet", "The Parquet file cannot be read"),
    ],
    ids=range(10),
)
def test_hostile_file_ends_with_a_clear_finding(
    tmp_path: Path, content: bytes, name: str, code: str, message: str
) -> None:
    with pytest.raises(BadDocument) as caught:
        load(tmp_path, content, name)

    assert caught.value.problem.code == code
    assert message in caught.value.problem.message


def test_workbook_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match="600 MB unpacked") as caught:
        load(tmp_path, workbook([["a"]], padding=600 * 2**20), "a.xlsx")

    assert caught.value.problem.code == "document.too_large"


@pytest.mark.parametrize("cell", ["XFE1", "A1048577", "ZZZZZZZ1", "A4294967295", "AAAA00001"])
def test_cell_beyond_the_last_one_is_refused(tmp_path: Path, cell: str) -> None:
    content = workbook([["id"], [1.0]], first_cell=cell)

    with pytest.raises(BadDocument, match=f"sheet1.xml has a cell {cell}, and the last"):
        load(tmp_path, content, "a.xlsx")


@pytest.mark.parametrize("cell", ["XFD1", "A1048576", "A0000001"])
def test_last_cells_of_a_sheet_are_accepted(cell: str) -> None:
    sheet = io.BytesIO(f'<row r="9999999"><c t="s" r="{cell}"><v>1</v></c></row>'.encode())

    assert impossible_cell(sheet) is None


def test_wrong_encoding_names_byte_and_line(tmp_path: Path) -> None:
    with pytest.raises(BadDocument) as caught:
        load(tmp_path, "a\n1\nä\n".encode("cp1252"), config=TabularConfig(encoding="utf-8"))

    assert caught.value.problem.message.startswith("The file is not encoded in utf-8: byte 0xe4.")


def test_archive_without_workbook_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.txt", "x")

    with pytest.raises(BadDocument, match="no workbook"):
        load(tmp_path, content.getvalue(), "a.xlsx")


def test_missing_sheet_is_named(tmp_path: Path) -> None:
    config = TabularConfig.model_validate({"sheet": "Sales"})

    with pytest.raises(BadDocument, match="no sheet 'Sales'; it has: Data"):
        load(tmp_path, workbook([["a"]]), "a.xlsx", config)


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_ROWS", 9_000)

    with pytest.raises(BadDocument, match="more than 9,000 rows"):
        load(tmp_path, b"a\n" + b"1\n" * 20_000)
