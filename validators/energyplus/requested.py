"""Results that are requested of the engine in the working copy, and the messages that this causes."""

import re

from validators.energyplus.model import Fields, Model

REPORTS = (
    "AnnualBuildingUtilityPerformanceSummary",
    "DemandEndUseComponentsSummary",
    "InputVerificationandResultsSummary",
    "SystemSummary",
)
WINDOW_VARIABLES = (
    "Zone Windows Total Heat Gain Energy",
    "Zone Windows Total Heat Loss Energy",
    "Surface Window Transmitted Solar Radiation Energy",
)
# The engine warns about a meter that the model does not have, but never about all meters.
METERS: Fields = {"key_name": "*", "reporting_frequency": "RunPeriod"}

_MISSING_VARIABLE = rf"Key=\*, VarName=({'|'.join(WINDOW_VARIABLES)}), Frequency=RunPeriod"
_DOUBLE_METER = r'Output:Meter:MeterFileOnly requested for ".*" \(RunPeriod\), already on'
_POLLUTION = "GetPollutionFactorInput: Requested reporting for Carbon Equivalent Pollution"
_ASKS_FOR_POLLUTION = ("carbon", "environmental impact")


def own_messages(model: Model) -> list[re.Pattern[str]]:
    """Return patterns of the messages that only our requests cause, not the submitted model.

    All meters include that of carbon, which lacks its factors in most models; and a meter that the
    model sends to its own file is on both files with ours.
    """
    meters = [
        item for item in model.objects if re.match(r"output:meter(:|$)", item.kind, re.IGNORECASE)
    ]
    asked = [value.lower() for item in meters for value in item.values]
    variables = [
        value.lower() for item in model.of_kind("Output:Variable") for value in item.values
    ]
    patterns = [_MISSING_VARIABLE]
    wants_all = any(value.startswith("*") for value in asked)
    named = [*asked, *variables]
    if not wants_all and not any(value.startswith(_ASKS_FOR_POLLUTION) for value in named):
        patterns.append(_POLLUTION)
    kinds = {item.kind.lower() for item in meters}
    if kinds <= {"output:meter:meterfileonly"}:
        patterns.append(_DOUBLE_METER)
    return [re.compile(pattern, re.IGNORECASE) for pattern in patterns]
