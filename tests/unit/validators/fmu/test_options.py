"""Options of a step: values, names, times and inputs over time, checked against a model."""

from pathlib import Path
from typing import Any

import pytest
from validibot_shared.fmu.envelopes import FMUInputs, FMUSimulationConfig

from tests.fmus import FMI3_XML, fmi2_xml
from validators.fmu.description import Description, read_description
from validators.fmu.options import check_options, plan_simulation
from validators.fmu.series import SeriesRefused, read_series
from validators.fmu.trajectory import columns
from validators.fmu.variable import FmuVariable, Unit, ValueRefused

KELVIN = Unit(name="K", displayed={"degC": (1.0, -273.15)})
MODE = {"off": 1, "on": 2}


def variable(kind: str, **more: Any) -> FmuVariable:
    return FmuVariable(name="v", causality="input", type=kind, **more)


@pytest.fixture
def model(tmp_path: Path) -> Description:
    (tmp_path / "modelDescription.xml").write_text(fmi2_xml())
    return read_description(tmp_path)


@pytest.mark.parametrize(
    ("kind", "more", "value", "expected"),
    [
        ("Real", {}, 1, 1.0),
        ("Real", {"unit": KELVIN}, {"value": 20, "unit": "degC"}, 293.15),
        ("Real", {"unit": KELVIN, "relative": True}, {"value": 20, "unit": "degC"}, 20),
        ("Integer", {}, 3.0, 3),
        ("UInt64", {}, 2**64 - 1, 2**64 - 1),
        ("Boolean", {}, True, True),
        ("String", {}, "a", "a"),
        ("Enumeration", {"items": MODE}, "on", 2),
        ("Enumeration", {"items": MODE}, 1, 1),
        ("Binary", {}, "YWJj", "616263"),
        ("Float64", {"shape": (2, 2)}, [[1, 2], [3, 4]], [1, 2, 3, 4]),
        ("Float64", {"shape": (2,)}, [1, 2], [1, 2]),
    ],
)
def test_fitting_value_is_converted(kind: str, more: Any, value: Any, expected: Any) -> None:
    assert variable(kind, **more).convert(value) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "more", "value", "words"),
    [
        ("Int8", {}, 300, "Int8 takes -128 to 127"),
        ("UInt8", {}, -1, "UInt8 takes 0 to 255"),
        ("Int32", {}, 2**40, "Int32 takes -2147483648 to 2147483647"),
        ("Integer", {}, 10**400, "Integer takes"),
        ("Int32", {}, 1.5, "whole number"),
        ("Int32", {}, float("nan"), "takes"),
        ("Integer", {}, True, "give it a number"),
        ("Real", {}, True, "give it a number"),
        ("Real", {}, "1", "give it a number"),
        ("Real", {}, float("inf"), "finite"),
        ("Real", {}, 10**400, "finite"),
        ("Float32", {}, 1e39, "finite"),
        ("Real", {"maximum": 10.0}, 11, "maximum of 10.0"),
        ("Real", {"minimum": 0.0, "unit": KELVIN}, -1, "minimum of 0.0 K"),
        ("Integer", {"minimum": 0}, -1, "minimum of 0"),
        ("Real", {}, [1], "scalar"),
        ("Real", {}, {"value": 1, "unit": "m"}, "no unit"),
        ("Real", {"unit": KELVIN}, {"value": 1, "unit": "degF"}, "its units: K, degC"),
        ("Real", {}, {"of": 1}, "keys 'value' and 'unit'"),
        ("Boolean", {}, 1, "true or false"),
        ("String", {}, 1, "text in quotes"),
        ("Enumeration", {"items": MODE}, 99, r"off \(1\), on \(2\)"),
        ("Enumeration", {"items": MODE}, "no", r"off \(1\), on \(2\)"),
        ("Enumeration", {"items": MODE}, True, r"off \(1\), on \(2\)"),
        ("Binary", {}, "no base64!", "base64"),
        ("Float64", {"shape": (2, 2)}, 1, "list of 2 x 2 values"),
        ("Float64", {"shape": (2, 2)}, [1, 2, 3], "has 4 elements, the list 3"),
        ("Float64", {"shape": (2, 2)}, [[1, 2, 3, 4]], "nested list"),
        ("Float64", {"shape": (2,)}, [1, None], "give it a number"),
    ],
)
def test_unfitting_value_is_refused_in_words(kind: str, more: Any, value: Any, words: str) -> None:
    with pytest.raises(ValueRefused, match=words):
        variable(kind, **more).convert(value)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"input_values": {"inputs": 1}}, "no variable 'inputs'. Did you mean 'input'?"),
        ({"output_variables": ["LEVEL"]}, "Did you mean 'level'?"),
        ({"output_variables": ["zz"]}, "It has: level, time"),
        ({"input_values": {"gravity": 1}}, "cannot set 'gravity': it is a constant."),
        ({"input_values": {"level": 1}}, "the model calculates it"),
        (
            {"input_values": {"input": 401}},
            "401 is not a value for the FMU's Real variable 'input'",
        ),
        ({"input_values": {"validibot:relaxed_xml": "yes"}}, "give it true or false"),
    ],
)
def test_unfitting_option_is_named(model: Description, inputs: Any, words: str) -> None:
    options, (finding,) = check_options(FMUInputs(**inputs), model)

    assert options is None
    assert words in finding.text


def test_many_unknown_names_give_bounded_findings(model: Description) -> None:
    inputs = FMUInputs(input_values={f"name{number}": 1 for number in range(1000)})

    _, findings = check_options(inputs, model)

    assert len(findings) == 21
    assert "980 more" in findings[-1].text


@pytest.mark.parametrize(
    ("experiment", "config", "expected"),
    [
        ("", {}, (0, 1, 0.01, None)),
        ('startTime="2" stopTime="12" stepSize="0.5" tolerance="1e-4"', {}, (2, 12, 0.5, 1e-4)),
        ('stopTime="100"', {}, (0, 100, 1, None)),
        ('stopTime="100" stepSize="5"', {"stop_time": 10.0}, (0, 10, 5, None)),
        ('stopTime="100"', {"stop_time": 1.0, "step_size": 0.01}, (0, 1, 0.01, None)),
    ],
)
def test_default_experiment_rules_where_step_is_silent(
    tmp_path: Path, experiment: str, config: Any, expected: tuple[float, ...]
) -> None:
    xml = fmi2_xml(experiment=f"<DefaultExperiment {experiment}/>")
    (tmp_path / "modelDescription.xml").write_text(xml)

    plan = plan_simulation(FMUSimulationConfig(**config), read_description(tmp_path))

    assert (plan.start, plan.stop, plan.step, plan.tolerance) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the header must be"),
        ("input,time\n1,0\n", "the header must be"),
        ("time [h],input\n0,1\n", "the header must be"),
        ("time,input\n", "no values"),
        ("time,input\n0\n", "line 2: 1 values instead of 2"),
        ("time,input\n1,1\n0,1\n", "line 3: the time 0 is before"),
        ("time,input\n0,nan\n", "line 2: 'nan' is not a finite number"),
        ("time,input\n0,500\n", "line 2: '500' is not a value for 'input'.*maximum of 400"),
        ("time,input [degF]\n0,1\n", "not one of its units: K, degC"),
        ("time,level\n0,1\n", "'level' cannot be a column: the model calculates it"),
        ("time,behaviour\n0,1\n", "not an input and not tunable"),
        ("time,input,input\n0,1,1\n", "there twice"),
        ("time,flag\n0,maybe\n", "true or false"),
        (b"time,input\n0,\xff\n", "not UTF-8"),
    ],
)
def test_unusable_series_names_line_and_column(
    model: Description, tmp_path: Path, text: str | bytes, words: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)

    with pytest.raises(SeriesRefused, match=words):
        read_series(path, model, target=tmp_path / "out")


def test_columns_have_units_and_distinct_titles(tmp_path: Path) -> None:
    (tmp_path / "modelDescription.xml").write_text(FMI3_XML)
    variables = read_description(tmp_path).variables
    time = FmuVariable(name="Time", causality="output", type="Float32", unit=Unit(name="s"))

    found = columns([time, variables["table"], variables["steps"]])

    assert found[:3] == [
        ("time [s]", "DOUBLE"),
        ("Time [s] (2)", "FLOAT"),
        ("table[1,1]", "DOUBLE"),
    ]
    assert found[-1] == ("steps", "BIGINT")
