"""Outputs with the names that a validator's catalogue gives them."""

from validibot.runs.models.runs import OutputValue, named_outputs

CATALOGUE = [
    {"slug": "area", "label": "Floor area", "unit": "m²"},
    {"slug": "absent", "label": "Absent", "unit": "kWh"},
    {"slug": "bare"},
]


def test_outputs_have_label_and_unit_in_order_of_catalogue() -> None:
    outputs = {"other": None, "bare": 0, "area": 12.5}

    assert named_outputs(outputs, CATALOGUE) == [
        OutputValue("area", "Floor area", 12.5, "m²"),
        OutputValue("bare", "bare", 0, ""),
        OutputValue("other", "other", None, ""),
    ]


def test_table_of_values_counts_as_its_entries() -> None:
    assert named_outputs({"bare": {"y": 1, "z": 2}, "area": 3}, CATALOGUE) == [
        OutputValue("area", "Floor area", 3, "m²"),
        OutputValue("y", "y", 1, ""),
        OutputValue("z", "z", 2, ""),
    ]
