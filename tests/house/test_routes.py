"""Every route has its entry in the policy table, and every entry its route."""

from tests.policy import POLICY, all_routes


def test_every_route_has_a_policy_entry() -> None:
    missing = [
        route.pattern for route in all_routes() if not route.library and route.pattern not in POLICY
    ]

    assert missing == [], "Add these routes to POLICY in tests/policy.py."


def test_every_policy_entry_has_a_route() -> None:
    assert set(POLICY) - {route.pattern for route in all_routes()} == set()
