"""Alert policies that somebody changed by hand."""

from types import SimpleNamespace
from typing import Any

from google.cloud import monitoring_v3 as monitoring

from deploy.resources.monitoring import AlertPolicy, Threshold


def test_policy_with_another_kind_of_condition_is_a_difference() -> None:
    channels = SimpleNamespace(list_notification_channels=lambda request: [])
    cloud: Any = SimpleNamespace(project="p", alert_addresses=channels)
    wanted = Threshold(filter="metric.type = x", above=1, seconds=60)
    policy = AlertPolicy(cloud=cloud, name="dev-errors", threshold=wanted)
    absence = monitoring.AlertPolicy.Condition.MetricAbsence(filter="metric.type = x")
    changed = policy.message()
    changed.conditions = [monitoring.AlertPolicy.Condition(condition_absent=absence)]

    assert policy.settings_of(policy.message()) == policy.desired()
    assert policy.settings_of(changed)["filter"] == ""
