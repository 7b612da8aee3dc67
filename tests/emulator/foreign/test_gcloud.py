"""gcloud for storage, secrets, Pub/Sub, logs, identity pools, networks and policies of the project."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from devenv.gcp.config import CloudConfig
from tests.emulator.foreign.conftest import Gcloud
from tests.waiting import until


@pytest.fixture
def folder(config: CloudConfig) -> str:
    return f"gs://{config.buckets[0]}/gcloud-{os.urandom(6).hex()}"


def test_gcloud_copies_a_large_file_there_and_back(
    gcloud: Gcloud, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(40 * 1024 * 1024))
    gcloud("storage", "cp", str(tmp_path / "large"), f"{folder}/large")
    gcloud("storage", "cp", f"{folder}/large", str(tmp_path / "back"))

    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


def test_gcloud_copies_moves_lists_and_removes_trees(
    gcloud: Gcloud, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "a").write_text("a")
    (tmp_path / "tree" / "sub" / "b").write_text("b")
    gcloud("storage", "cp", "-r", str(tmp_path / "tree"), f"{folder}/one")
    gcloud("storage", "cp", "-r", f"{folder}/one", f"{folder}/two")
    gcloud("storage", "mv", f"{folder}/one/a", f"{folder}/moved")
    gcloud("storage", "rm", "-r", f"{folder}/one")
    names = gcloud("storage", "ls", "-r", f"{folder}/**").split()

    assert [name.removeprefix(f"{folder}/") for name in names] == ["moved", "two/a", "two/sub/b"]


def test_gcloud_creates_reads_and_destroys_secrets(gcloud: Gcloud) -> None:
    name = f"gcloud-{os.urandom(6).hex()}"
    gcloud("secrets", "create", name, "--replication-policy=automatic", "--data-file=-", text="one")
    gcloud("secrets", "versions", "add", name, "--data-file=-", text="two")
    latest = gcloud("secrets", "versions", "access", "latest", f"--secret={name}")
    gcloud("secrets", "versions", "destroy", "1", f"--secret={name}", "--quiet")
    states = gcloud("secrets", "versions", "list", name, "--format=value(name,state)").split()

    assert latest == "two"
    assert states == ["2", "enabled", "1", "destroyed"]
    assert name in gcloud("secrets", "list", "--format=value(name)").split()


def test_gcloud_publishes_pulls_and_seeks(gcloud: Gcloud) -> None:
    name = f"gcloud-{os.urandom(6).hex()}"
    gcloud("pubsub", "topics", "create", name)
    gcloud("pubsub", "subscriptions", "create", name, f"--topic={name}", "--retain-acked-messages")
    gcloud("pubsub", "topics", "publish", name, "--message=hello", "--attribute=color=red")
    pull = ("pubsub", "subscriptions", "pull", name, "--auto-ack", "--format=value(message.data)")
    first = gcloud(*pull)
    gcloud("pubsub", "subscriptions", "seek", name, "--time=2020-01-01T00:00:00Z")
    again = gcloud(*pull)

    assert (first.strip(), again.strip()) == ("hello", "hello")


def test_gcloud_tails_writes_reads_and_deletes_logs(
    gcloud: Gcloud, tailed: Callable[[str], Path]
) -> None:
    log = f"gcloud-{os.urandom(6).hex()}"
    payload = '{"message": "full", "disk": 3}'
    told = tailed(f"log_id({log})")

    def is_tailed() -> bool:
        gcloud("logging", "write", log, "hello", "--severity=NOTICE")
        return "\nhello" in told.read_text()

    until(is_tailed)
    gcloud("logging", "write", log, payload, "--payload-type=json", "--severity=ERROR")
    wanted = f"log_id({log}) AND severity>=WARNING"
    read = gcloud(
        *("logging", "read", wanted, "--format=value(severity,jsonPayload.disk)", "--limit=5"),
        *("--bucket=_Default", "--location=global", "--view=_Default"),
    )
    names = gcloud("logging", "logs", "list", "--format=value(NAME)").split()
    gcloud("logging", "logs", "delete", log, "--quiet")

    assert read.split() == ["ERROR", "3"]
    assert any(name.endswith(f"/logs/{log}") for name in names)
    assert gcloud("logging", "read", f"log_id({log})") == ""


def test_gcloud_changes_the_default_sink_and_log_buckets(gcloud: Gcloud) -> None:
    log, bucket = f"gcloud-{os.urandom(6).hex()}", f"bucket-{os.urandom(4).hex()}"
    exclusion = f"name={log},filter=log_id({log}) AND severity<ERROR"
    gcloud("logging", "sinks", "update", "_Default", f"--add-exclusion={exclusion}")
    gcloud("logging", "write", log, "noise")
    gcloud("logging", "write", log, "broken", "--severity=ERROR")
    kept = gcloud(
        "logging", "read", f'SEARCH("noise") OR log_id({log})', "--format=value(textPayload)"
    )
    gcloud("logging", "sinks", "update", "_Default", f"--remove-exclusions={log}")
    place = "--location=global"
    gcloud("logging", "buckets", "create", bucket, place, "--retention-days=5")
    gcloud("logging", "buckets", "update", bucket, place, "--locked", text="y\n")
    shown = gcloud(
        *("logging", "buckets", "describe", bucket, place, "--format=value(retentionDays,locked)")
    )

    assert kept.split() == ["broken"]
    assert shown.split() == ["5", "True"]
    described = gcloud("logging", "sinks", "describe", "_Default", "--format=value(exclusions)")
    assert log not in described


def test_gcloud_grants_a_role_on_a_secret(gcloud: Gcloud, config: CloudConfig) -> None:
    name, member = f"gcloud-{os.urandom(6).hex()}", f"serviceAccount:{config.email('guest')}"
    role = "--role=roles/secretmanager.secretAccessor"
    gcloud("secrets", "create", name)
    gcloud("secrets", "add-iam-policy-binding", name, f"--member={member}", role)

    policy = gcloud("secrets", "get-iam-policy", name, "--format=value(bindings.members)")

    assert member in policy


def test_gcloud_shows_the_policy_of_the_project(gcloud: Gcloud, config: CloudConfig) -> None:
    shown = gcloud("projects", "get-iam-policy", config.project, "--format=value(bindings.role)")

    assert "roles/run.jobsExecutorWithOverrides" in shown


def test_gcloud_makes_a_pool_with_a_provider(gcloud: Gcloud) -> None:
    pools = ("iam", "workload-identity-pools")
    pool, place = f"gcloud-{os.urandom(4).hex()}", "--location=global"
    gcloud(*pools, "create", pool, place)
    gcloud(
        *(*pools, "providers", "create-oidc", "ci-jobs", place, f"--workload-identity-pool={pool}"),
        "--issuer-uri=https://ci.example.com",
        "--attribute-mapping=google.subject=assertion.sub",
    )
    of_pool = (place, f"--workload-identity-pool={pool}", "--format=value(name)")

    assert gcloud(*pools, "providers", "list", *of_pool).strip().endswith("/providers/ci-jobs")


def test_gcloud_gives_google_services_a_range_of_a_network(gcloud: Gcloud) -> None:
    network, name = f"gcloud-{os.urandom(4).hex()}", f"range-{os.urandom(4).hex()}"
    six = "--enable-ula-internal-ipv6"
    gcloud("compute", "networks", "create", network, "--subnet-mode=custom", six)
    stack = "--stack-type=IPV4_IPV6", "--ipv6-access-type=INTERNAL"
    subnets = ("compute", "networks", "subnets")
    where = ("--region=us-west1", f"--network={network}", "--range=10.9.0.0/24")
    prefix = gcloud(
        *subnets, "create", network, *where, *stack, "--format=value(internalIpv6Prefix)"
    )
    gcloud(
        *("compute", "addresses", "create", name, "--global", "--purpose=VPC_PEERING"),
        *("--prefix-length=24", f"--network={network}"),
    )
    peerings = ("services", "vpc-peerings")
    service = "--service=servicenetworking.googleapis.com"
    gcloud(*peerings, "connect", service, f"--ranges={name}", f"--network={network}")
    shown = gcloud(
        *peerings, "list", f"--network={network}", "--format=value(reservedPeeringRanges)"
    )

    assert name in shown
    assert prefix.strip().endswith("::/64")


def test_gcloud_makes_firewall_rules_and_routes(gcloud: Gcloud) -> None:
    name = f"gcloud-{os.urandom(4).hex()}"
    rules, routes = ("compute", "firewall-rules"), ("compute", "routes")
    gcloud(*rules, "create", name, "--allow=tcp:80,icmp", "--source-ranges=::/0")
    gcloud(*rules, "update", name, "--priority=7", "--source-tags=web")
    rule = gcloud(*rules, "describe", name, "--format=value(priority,direction,sourceTags)")
    names = gcloud(*rules, "list", "--format=value(name)").split()
    to = ("--destination-range=192.168.0.0/16", "--next-hop-gateway=default-internet-gateway")
    gcloud(*routes, "create", name, *to)
    ranges = gcloud(*routes, "list", "--format=value(destRange)").split()
    for kind in (rules, routes):
        gcloud(*kind, "delete", name, "--quiet")

    assert rule.split() == ["7", "INGRESS", "web"]
    assert {name, "default-allow-ssh"} <= set(names)
    assert {"0.0.0.0/0", "10.138.0.0/20", "192.168.0.0/16"} <= set(ranges)
    assert name not in gcloud(*rules, "list", "--format=value(name)").split()
