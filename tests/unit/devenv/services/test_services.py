"""Unit tests of the services of this stack."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devenv.gcp.config import CloudConfig, IamBinding, ImageConfig, JobConfig
from devenv.local_stack import LocalStack
from devenv.schema import CommandService, MailService, PostgresService, Ready
from devenv.services import builtin, declared, launch_postgres, services, urls
from devenv.stack.service import (
    CommandProbe,
    HttpProbe,
    LogProbe,
    StackService,
    TcpProbe,
    start_levels,
)
from tests.declared import config_in, stack_in


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    return stack_in(tmp_path)


def _changed(stack: LocalStack, **tables: Any) -> LocalStack:
    """Return a stack with other tables of services."""
    changed = replace(stack.config, services={**stack.config.services, **tables})
    ports = {**changed.wanted_ports(), **stack.ports}
    return replace(stack, config=changed, ports=ports)


def _built(stack: LocalStack, **keys: Any) -> StackService:
    """Return the service `own` with some keys."""
    given: dict[str, Any] = {"command": ("run", "{port}"), "port": 9000} | keys
    service = CommandService(**given)
    return declared.build(_changed(stack, own=service), "own")


def test_product_starts_after_database_and_cloud(stack: LocalStack) -> None:
    assert start_levels(services(stack)) == [
        ["console", "gcp", "mail", "oidc", "postgres"],
        ["migrate"],
        ["setup"],
        ["web", "worker"],
    ]


def test_tunnel_mode_has_tunnel_and_sweep(tmp_path: Path) -> None:
    stack = stack_in(tmp_path, "tunnel")

    assert start_levels(services(stack)) == [
        ["console", "mail", "oidc", "postgres", "tunnel"],
        ["migrate"],
        ["setup"],
        ["web", "worker"],
        ["sweep"],
    ]
    assert builtin.tunnel_readers(stack) == ["web", "worker", "sweep"]


def test_mock_mode_has_no_cloud(tmp_path: Path) -> None:
    mock = stack_in(tmp_path, "mock")

    assert "gcp" not in {service.name for service in services(mock)}
    assert "gcp" not in urls(mock)


def test_sign_in_gets_taken_ports_of_provider_and_client(tmp_path: Path) -> None:
    stack = stack_in(tmp_path, "mock")
    moved = replace(stack, ports={**stack.ports, "web": 9001, "oidc": 9002})

    command, given = builtin.oidc(moved).command, declared.variables(moved, "web")

    callback = "http://localhost:9001/accounts/oidc/sso/login/callback/"
    assert f"--redirect-uri={callback}" in command
    assert given["OIDC_SERVER_URL"] == urls(moved)["oidc"] == "http://localhost:9002"
    assert given["OIDC_CLIENT_SECRET"] not in " ".join(command)  # others may list commands


def test_cloud_gets_taken_ports_of_services(stack: LocalStack) -> None:
    moved = replace(stack, ports={**stack.ports, "worker": 9001})
    found = {one.name: one for one in moved.cloud_config().services}

    assert found["validibot-worker"].port == 9001
    assert (found["validibot-web"].public, found["validibot-worker"].public) == (True, False)


def test_cloud_file_has_values_in_place_of_references(stack: LocalStack) -> None:
    cloud = CloudConfig(
        project="shop",
        buckets=("{gcp.project}-files",),
        bindings=(IamBinding("web", "r", "bucket/{gcp.project}-files", "'{{a}}' == '{a}'"),),
        images=(ImageConfig("report:1", ("{python}", "{root}/report.py")),),
        jobs=(JobConfig("report", "report:1", "web", env={"URL": "{services.web.url}"}),),
        secrets={"key": "{secrets.api_key_pepper}"},
    )
    path = builtin.write_cloud_file(replace(stack, config=replace(stack.config, cloud=cloud)))
    written = json.loads(path.read_text())["gcp"]

    assert written["buckets"] == ["shop-files"]
    assert written["bindings"][0]["resource"] == "bucket/shop-files"
    assert written["bindings"][0]["condition"] == "'{{a}}' == '{a}'"
    assert written["images"][0]["command"] == ["{python}", f"{stack.folder.root}/report.py"]
    assert written["jobs"][0]["env"]["URL"].startswith("https://validibot-web-")
    assert written["secrets"]["key"] == stack.secrets["api_key_pepper"]
    assert path.stat().st_mode & 0o077 == 0


def test_cloud_gets_runtime_of_jobs(tmp_path: Path) -> None:
    command = builtin.gcp(stack_in(tmp_path, jobs="docker")).command

    assert command[command.index("--jobs") + 1] == "docker"


def test_new_migration_changes_step_key(stack: LocalStack) -> None:
    migrations = stack.folder.root / "validibot" / "runs" / "migrations"
    migrations.mkdir(parents=True)
    before = declared.step_key(stack, "migrate")

    (migrations / "0002_more.py").write_text("")

    assert declared.step_key(stack, "migrate") != before


def test_new_database_changes_step_key(stack: LocalStack) -> None:
    before = declared.step_key(stack, "migrate")

    cluster = stack.folder.state / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("18")

    assert declared.step_key(stack, "migrate") != before


def test_new_port_changes_step_key(stack: LocalStack) -> None:
    moved = replace(stack, ports={**stack.ports, "web": 9001})

    assert declared.step_key(moved, "setup") != declared.step_key(stack, "setup")


def test_postgres_listens_on_loopback_only(tmp_path: Path) -> None:
    command = launch_postgres.server_command(tmp_path, port=5432)

    assert command[command.index("-h") + 1] == "127.0.0.1"
    assert "--unix_socket_directories=" in command


def test_external_servers_replace_services(stack: LocalStack) -> None:
    theirs = _changed(
        stack,
        postgres=PostgresService(external="postgres://a:b@db:1/c"),
        mail=MailService(external="smtp://post:2", external_page="http://post:3"),
    )

    assert start_levels(services(theirs))[0] == ["console", "gcp", "oidc"]
    assert urls(theirs)["mail"] == "http://post:3"
    assert theirs.postgres_url == "postgres://a:b@db:1/c"


@pytest.mark.parametrize(
    ("ready", "probe"),
    [
        (Ready(http="/up"), HttpProbe(9000, "/up")),
        (Ready(tcp=True), TcpProbe(9000)),
        (Ready(command=("ask", "{port}")), CommandProbe(("ask", "9000"))),
    ],
)
def test_ready_becomes_probe(stack: LocalStack, ready: Ready, probe: object) -> None:
    assert _built(stack, ready=ready).probe == probe


def test_log_line_makes_service_ready(stack: LocalStack) -> None:
    probe = _built(stack, ready=Ready(log="listening on \\d+")).probe

    assert isinstance(probe, LogProbe)
    assert probe.pattern.search("listening on 9000")


def test_service_gets_its_port_as_variable_and_in_command(stack: LocalStack) -> None:
    service = _built(stack, env={"A": "{port}", "PORT": "7"})

    assert service.command == ("run", "9000")
    assert (service.environ()["A"], service.environ()["PORT"]) == ("9000", "7")
    assert _built(stack).environ()["PORT"] == "9000"


def test_image_is_run_in_container_on_loopback(stack: LocalStack) -> None:
    service = _built(stack, command=(), image="redis:8", image_port=6379, env={"A": "secret"})

    assert service.command[3] == f"{stack.owner}-own"
    assert service.command[-1] == "redis:8"
    assert "127.0.0.1:9000:6379" in service.command
    assert "--env=A" in service.command  # not its value: others may list commands
    assert service.environ()["A"] == "secret"


def test_reload_hands_over_unless_debugged(stack: LocalStack) -> None:
    debugged = replace(stack, debug={"web": 5678})

    for given, port in ((stack, 8000), (debugged, 0)):
        reload = declared.build(given, "web").reload
        assert reload
        assert reload.port == port


def test_containers_listen_on_usual_ports_of_all_addresses(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    layers = config.layers("mock", jobs="docker", runtime="docker")
    inside = config.stack(layers, secrets=config.load_secrets(), jobs="docker")
    inside = replace(inside, outside={"web": 8080, "mail": 8026})

    assert " --host 0.0.0.0 --port 8000 " in " ".join(declared.build(inside, "web").command)
    assert declared.variables(inside, "web")["SITE_URL"] == "http://localhost:8080"
    assert inside.mail_url == "http://localhost:8026"
    assert "OIDC_SERVER_URL" not in declared.variables(inside, "web")
