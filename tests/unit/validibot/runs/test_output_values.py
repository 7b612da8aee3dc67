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
    assert named_outputs({"bare": {"y": 1}, "area": {"A 1": 2, "y": 3}}, CATALOGUE) == [
        OutputValue("area.A 1", "Floor area: A 1", 2, "m²"),
        OutputValue("area.y", "Floor area: y", 3, "m²"),
        OutputValue("bare.y", "bare: y", 1, ""),
    ]


def test_variables_of_model_have_their_own_names() -> None:
    assert named_outputs({"output_values": {"y": 1}}, CATALOGUE) == [OutputValue("y", "y", 1, "")]
