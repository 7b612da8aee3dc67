"""Firewall rules and routes of networks by REST."""

from typing import Any

import pytest

from devenv.gcp.compute.records import GATEWAY
from tests.unit.devenv.gcp.compute.test_networks import NetworksBench, bench

__all__ = ["bench"]
pytestmark = pytest.mark.anyio
CUSTOM = {"autoCreateSubnetworks": False}
NETWORK = "global/networks/inside"
RULE: dict[str, Any] = {
    "name": "web",
    "network": "global/networks/inside",
    "allowed": [{"IPProtocol": "tcp", "ports": ["80", "8000-8080"]}],
    "targetTags": ["web"],
}
ROUTE: dict[str, Any] = {
    "name": "way",
    "network": "global/networks/inside",
    "destRange": "192.168.0.0/16",
    "nextHopIp": "10.1.0.5",
}


async def test_firewall_rule_is_made_changed_listed_and_deleted(bench: NetworksBench) -> None:
    await bench.make_network()
    await bench.done("POST", "global/firewalls", RULE)
    made = (await bench.ask("GET", "global/firewalls/web")).json()
    denied = {"denied": [{"IPProtocol": "all"}], "priority": 5, "disabled": True}
    await bench.done("PATCH", "global/firewalls/web", denied)
    patched = (await bench.ask("GET", "global/firewalls/web")).json()
    egress = RULE | {"direction": "EGRESS"}
    fixed = await bench.ask("PATCH", "global/firewalls/web", egress)
    await bench.done("PUT", "global/firewalls/web", {"allowed": [{"IPProtocol": "icmp"}]})
    replaced = (await bench.ask("GET", "global/firewalls/web")).json()
    listed = (await bench.ask("GET", "global/firewalls")).json()["items"]
    await bench.done("DELETE", "global/firewalls/web")

    defaults = {"priority": 1000, "direction": "INGRESS", "sourceRanges": ["0.0.0.0/0"]}
    assert made | defaults | {"kind": "compute#firewall", "disabled": False} == made
    assert "allowed" not in patched
    assert patched | denied | {"targetTags": ["web"]} == patched
    assert fixed.status_code == 400
    assert (replaced["allowed"], replaced["priority"]) == ([{"IPProtocol": "icmp"}], 1000)
    assert "targetTags" not in replaced
    assert replaced["network"] == made["network"]
    assert [each["name"] for each in listed] == [
        *(f"default-allow-{name}" for name in ("icmp", "internal", "rdp", "ssh")),
        "web",
    ]
    assert (await bench.ask("GET", "global/firewalls/web")).status_code == 404


async def test_route_is_beside_those_of_the_network_and_its_subnetworks(
    bench: NetworksBench,
) -> None:
    await bench.make_network()
    await bench.done("POST", "global/routes", ROUTE)
    in_use = await bench.ask("DELETE", "global/networks/inside")
    items = (await bench.ask("GET", "global/routes")).json()["items"]
    own = [each for each in items if each["network"].endswith("/inside")]
    local, internet = sorted(own, key=lambda each: each["priority"])[:2]
    by_name = await bench.ask("GET", f"global/routes/{local['name']}")
    refused = await bench.ask("DELETE", f"global/routes/{local['name']}")
    await bench.done("DELETE", f"global/routes/{internet['name']}")
    await bench.done("DELETE", "global/routes/way")

    assert (len(items), len(own)) == (5, 3)
    assert by_name.json() == local
    assert (local["destRange"], local["nextHopNetwork"]) == ("10.1.0.0/24", local["network"])
    assert internet["nextHopGateway"].endswith("/global/gateways/default-internet-gateway")
    assert (in_use.status_code, refused.status_code) == (400, 400)
    left = (await bench.ask("GET", "global/routes")).json()["items"]
    assert [each["name"] for each in left if each in own] == [local["name"]]


@pytest.mark.parametrize(
    ("kind", "body", "status", "text"),
    [
        ("firewalls", {"allowed": []}, 400, "either 'allowed' or 'denied'"),
        ("firewalls", {"allowed": [{"IPProtocol": "smtp"}]}, 400, "allowed[0].IPProtocol"),
        ("firewalls", {"allowed": [{"IPProtocol": "tcp", "ports": ["9-1"]}]}, 400, "'9-1'"),
        ("firewalls", {"allowed": [{"IPProtocol": "icmp", "ports": ["9"]}]}, 400, "has no ports"),
        ("firewalls", {"direction": "UP"}, 400, "resource.direction"),
        ("firewalls", {"direction": "EGRESS", "sourceTags": ["a"]}, 400, "EGRESS rule has none"),
        ("firewalls", {"priority": 65536}, 400, "from 0 to 65535"),
        ("firewalls", {"sourceServiceAccounts": ["a@b"]}, 400, "both tags and service accounts"),
        ("firewalls", {"sourceRanges": ["x"]}, 400, "a range such as 10.0.0.0/24"),
        ("firewalls", {"sourceRanges": ["::/0", "10.0.0.0/8"]}, 400, "not of both"),
        ("firewalls", {"network": "global/networks/none"}, 404, "networks/none' was not found"),
        ("firewalls", {"params": {}}, 501, "resource.params is not emulated"),
        ("routes", {"destRange": "2001:db8::/32"}, 501, "destRange is one of IPv6"),
        ("routes", {"nextHopIp": "10.9.0.1"}, 400, "No subnetwork"),
        ("routes", {"nextHopGateway": "global/gateways/x"}, 400, "exactly one next hop"),
        ("routes", {"nextHopIlb": "x"}, 501, "resource.nextHopIlb is not emulated"),
        (
            "networks",
            {**CUSTOM, "internalIpv6Range": "fd20::/48"},
            400,
            "enableUlaInternalIpv6, too",
        ),
        (
            *(
                "networks",
                {**CUSTOM, "enableUlaInternalIpv6": True, "internalIpv6Range": "fd20::/64"},
            ),
            *(400, "/48 range within fd20::/20"),
        ),
    ],
)
async def test_invalid_rule_is_refused_by_its_field(
    bench: NetworksBench, kind: str, body: dict[str, Any], status: int, text: str
) -> None:
    await bench.make_network()
    base: dict[str, Any] = {"firewalls": RULE, "routes": ROUTE, "networks": {"name": "x"}}[kind]
    answer = await bench.ask("POST", f"global/{kind}", base | body)

    assert (answer.status_code, text in answer.json()["error"]["message"]) == (status, True)


async def test_route_named_like_one_of_google_keeps_its_network(bench: NetworksBench) -> None:
    await bench.done("POST", "global/networks", {"name": "inside", **CUSTOM})
    way = {**ROUTE, "name": "default-route-way", "nextHopGateway": GATEWAY}
    del way["nextHopIp"]
    await bench.done("POST", "global/routes", way)
    refused = await bench.ask("DELETE", NETWORK)
    await bench.done("DELETE", "global/routes/default-route-way")
    await bench.done("DELETE", NETWORK)

    assert (refused.status_code, "routes/default-route-way" in refused.text) == (400, True)
    assert (await bench.ask("GET", NETWORK)).status_code == 404


async def test_subnetworks_have_ranges_of_ipv6(bench: NetworksBench) -> None:
    network = {"name": "six", **CUSTOM}
    await bench.done("POST", "global/networks", network)
    await bench.done("PATCH", "global/networks/six", {"enableUlaInternalIpv6": True})
    made = (await bench.ask("GET", "global/networks/six")).json()
    subnetwork = {"network": "global/networks/six", "stackType": "IPV4_IPV6"}
    shown = {}
    for name, access, second in (("in", "INTERNAL", 1), ("out", "EXTERNAL", 2)):
        body = {"name": name, "ipv6AccessType": access, "ipCidrRange": f"10.9.{second}.0/24"}
        await bench.done("POST", "regions/us-west1/subnetworks", subnetwork | body)
        shown[name] = (await bench.ask("GET", f"regions/us-west1/subnetworks/{name}")).json()
    routes = (await bench.ask("GET", "global/routes")).json()["items"]
    rule = {**RULE, "network": "global/networks/six", "sourceRanges": ["::/0"]}
    await bench.done("POST", "global/firewalls", rule)

    assert made["internalIpv6Range"] == "fd20::/48"
    assert shown["in"]["internalIpv6Prefix"] == "fd20::/64"
    assert shown["out"]["externalIpv6Prefix"] == "2001:db8::/64"
    ranges = {each["destRange"] for each in routes if each["network"].endswith("/six")}
    assert ranges == {"0.0.0.0/0", "10.9.1.0/24", "10.9.2.0/24", "fd20::/64", "2001:db8::/64"}
    assert len({each["name"] for each in routes}) == len(routes)
    assert (await bench.ask("GET", "global/firewalls/web")).json()["sourceRanges"] == ["::/0"]


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"internalIpv6Prefix": "x"}, 501, "resource.internalIpv6Prefix"),
        ({"externalIpv6Prefix": "x"}, 501, "resource.externalIpv6Prefix"),
        ({"stackType": "IPV6_ONLY"}, 501, "IPV4_ONLY or IPV4_IPV6"),
        ({"stackType": "IPV4_IPV6"}, 400, "resource.ipv6AccessType"),
        ({"ipv6AccessType": "INTERNAL"}, 400, "resource.ipv6AccessType"),
        ({"stackType": "IPV4_IPV6", "ipv6AccessType": "EXTERNAL"}, 400, "auto mode"),
        (
            {"stackType": "IPV4_IPV6", "ipv6AccessType": "INTERNAL", "network": NETWORK},
            *(400, "enable enableUlaInternalIpv6"),
        ),
    ],
)
async def test_invalid_ipv6_of_a_subnetwork_is_refused(
    bench: NetworksBench, change: dict[str, Any], status: int, text: str
) -> None:
    await bench.make_network()
    body = {"name": "six", "network": "global/networks/default", "ipCidrRange": "10.9.0.0/24"}
    answer = await bench.ask("POST", "regions/us-west1/subnetworks", body | change)

    assert (answer.status_code, text in answer.text) == (status, True)


async def test_rules_and_routes_ask_for_their_permissions(bench: NetworksBench) -> None:
    await bench.make_network()
    bench.guard.asked.clear()
    await bench.done("POST", "global/firewalls", RULE)
    await bench.done("PATCH", "global/firewalls/web", {"priority": 1})
    await bench.done("DELETE", "global/firewalls/web")
    await bench.done("POST", "global/routes", ROUTE)
    await bench.done("DELETE", "global/routes/way")
    await bench.ask("GET", "global/routes")

    policy = "networks.updatePolicy"
    assert [permission for permission, _ in bench.guard.asked] == [
        f"compute.{each}"
        for each in (
            *("firewalls.create", policy, "firewalls.update", policy, "firewalls.delete", policy),
            *("routes.create", policy, "routes.delete", policy, "routes.list"),
        )
    ]


async def test_older_data_get_their_rules_and_routes_once(bench: NetworksBench) -> None:
    await bench.done("DELETE", "global/firewalls/default-allow-ssh")
    bench.records.seed()
    assert (await bench.ask("GET", "global/firewalls/default-allow-ssh")).status_code == 404
    bench.store.table("compute_seeds").delete("rules")
    for record in bench.records.below("global/firewalls/"):
        bench.records.delete(bench.records.place_of(record["selfLink"]))
    bench.records.seed()
    assert (await bench.ask("GET", "global/firewalls/default-allow-ssh")).status_code == 200
