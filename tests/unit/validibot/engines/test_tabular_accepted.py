"""Frictionless Table Schema, data packages and CSVW metadata as settings of a Tabular step."""

import json
from pathlib import Path
from typing import Any

import pytest

from validibot.engines import Document, get_engine
from validibot.engines.tabular.config import TabularConfig, read_config

pytestmark = pytest.mark.usefixtures("tables_in_process")

PAGE = Path(__file__).parents[4] / "docs/tabular.md"
PACKAGE = {
    "resources": [
        {"path": "data/sites.csv", "schema": {"fields": [{"name": "id"}]}},
        {
            "path": "data/readings.csv",
            "encoding": "cp1252",
            "dialect": {"delimiter": ";", "header": True},
            "schema": {
                "fields": [
                    {"name": "meter", "type": "string", "constraints": {"required": True}},
                    {"name": "kwh", "type": "number", "decimalChar": ",", "groupChar": "."},
                    {"name": "on", "type": "date", "format": "%d.%m.%Y"},
                    {
                        "name": "ok",
                        "type": "boolean",
                        "trueValues": ["ja"],
                        "falseValues": ["nein"],
                    },
                ],
                "primaryKey": "meter",
                "foreignKeys": [
                    {"fields": "meter", "reference": {"resource": "sites", "fields": "id"}}
                ],
                "missingValues": ["", "-"],
            },
        },
    ]
}
CSVW: dict[str, Any] = {
    "@context": ["http://www.w3.org/ns/csvw", {"@language": "en"}],
    "url": "readings.csv",
    "dialect": {"delimiter": ";"},
    "tableSchema": {
        "columns": [
            {"name": "meter", "titles": "Meter", "required": True},
            {"name": "kwh", "titles": ["kWh"], "datatype": {"base": "decimal", "minimum": 0}},
            {"name": "n", "datatype": "unsignedByte"},
            {"name": "on", "datatype": {"base": "date", "format": "d.M.yyyy"}, "null": "-"},
            {"name": "ok", "datatype": {"base": "boolean", "format": "Y|N"}},
            {"name": "code", "datatype": {"base": "string", "format": "[A-Z]+", "length": 2}},
            {"name": "v", "virtual": True},
        ],
        "primaryKey": "meter",
        "foreignKeys": [
            {
                "columnReference": "meter",
                "reference": {"resource": "https://example.org/sites.csv", "columnReference": "id"},
            }
        ],
    },
}


def column(config: TabularConfig, name: str) -> dict[str, Any]:
    (found,) = (each for each in config.columns if each.name == name)
    return found.model_dump(exclude_defaults=True, mode="json")


def test_resource_of_the_submitted_file_is_chosen() -> None:
    config = read_config({"schema": PACKAGE}, filename="readings.csv")

    assert column(config, "meter") == {"name": "meter", "type": "string", "required": True}
    assert column(config, "kwh")["decimal_char"] == ","
    assert column(config, "on") == {"name": "on", "type": "date", "format": "%d.%m.%Y"}
    assert column(config, "ok")["true_values"] == ["ja"]
    assert (config.primary_key, config.missing_values) == (["meter"], ["-"])
    assert (config.encoding, config.delimiter) == ("cp1252", ";")
    assert config.foreign_keys[0].file == "sites"
    assert read_config({"schema": PACKAGE}, filename="x.csv").columns[0].name == "id"


def test_csvw_metadata_become_columns() -> None:
    config = read_config({"schema": json.dumps(CSVW)}, filename="readings.csv")

    assert column(config, "Meter") == {"name": "Meter", "type": "string", "required": True}
    assert column(config, "kWh") == {"name": "kWh", "type": "number", "minimum": 0}
    assert column(config, "n") == {"name": "n", "type": "integer", "minimum": 0, "maximum": 255}
    assert column(config, "on")["format"] == "%d.%m.%Y"
    assert column(config, "ok")["false_values"] == ["N"]
    assert column(config, "code")["pattern"] == "[A-Z]+"
    assert (config.primary_key, config.delimiter, config.missing_values) == (["Meter"], ";", ["-"])
    assert config.foreign_keys[0].file == "sites.csv"
    assert "v" not in [each.name for each in config.columns]


def test_table_is_checked_by_csvw_metadata() -> None:
    table = "Meter;kWh;n;on;ok;code\nA;1.5;7;1.3.2026;Y;AB\nB;-1;256;-;J;abc\nA;x;;31.2.2026;N;AB\n"
    document = Document(table.encode(), "readings.csv", "", {"sites.csv": b"id\nA\n"})
    result = get_engine("tabular").check(document, {"schema": CSVW})

    assert [each.path for each in result.problems if each.severity == "ERROR"] == [
        "/3/kWh",
        "/2/kWh",
        "/2/n",
        "/3/on",
        "/2/ok",
        "/2/code",
        "/2/code",
        "/3/Meter",
        "/2/Meter",
    ]


def test_own_columns_replace_those_of_the_schema() -> None:
    own = {
        "columns": [{"name": "kwh", "type": "integer"}],
        "missing_values": ["NA"],
        "header": False,
    }
    config = read_config({"schema": PACKAGE, **own}, filename="readings.csv")

    assert column(config, "kwh") == {"name": "kwh", "type": "integer"}
    assert (config.missing_values, config.header, len(config.columns)) == (["NA"], False, 4)


@pytest.mark.parametrize("block", PAGE.read_text().split("```json")[1:])
def test_settings_of_page_are_valid(block: str) -> None:
    TabularConfig.model_validate_json(block.split("```", maxsplit=1)[0])
