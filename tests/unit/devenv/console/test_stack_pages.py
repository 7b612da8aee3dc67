"""Pages of the stack: services, logs, graph."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from devenv.console import shell
from devenv.console.local import graph_of, memory_of_groups
from devenv.console.shell import clock
from devenv.stack.statefile import ServiceState
from tests.unit.devenv.console.console import ConsoleClient, write_state


def test_services_show_state_restarts_and_needs(visitor: ConsoleClient) -> None:
    page = visitor.get("/").text

    assert 'data-state="stopped"' in page
    assert ">postgres</a>" in page
    assert 'action="/services/web/start"' in page
    assert 'action="/services/migrate/restart"' in page
    assert 'action="/services/console/stop"' not in page


def test_log_is_chosen_by_level_and_pattern(visitor: ConsoleClient, folder: Path) -> None:
    lines = ["INFO: started", "ERROR: <b>broken</b>", '{"severity": "ERROR", "message": "late"}']
    (folder / "logs" / "web.log").write_text("\n".join(lines) + "\n")

    page = visitor.get("/services/web?level=error&grep=broken|late").text

    assert "started" not in page
    assert "&lt;b&gt;broken&lt;/b&gt;" in page
    assert "ERROR late" in page


def test_bad_choice_of_lines_names_the_field(visitor: ConsoleClient) -> None:
    for query, text in (("level=loud", "level"), ("grep=(", "regular expression")):
        answer = visitor.get(f"/services/web?{query}")
        assert answer.status_code == 400
        assert text in answer.text


def test_unknown_service_and_page_return_404(visitor: ConsoleClient) -> None:
    for path in ("/services/nothing", "/nowhere", "/services/..%2Fx"):
        assert visitor.get(path).status_code == 404


def test_command_to_a_stopped_stack_shows_next_step(visitor: ConsoleClient) -> None:
    answer = visitor.post("/services/web/start", {"next": "/services/web"})
    page = visitor.get(answer.headers["location"]).text

    assert "takes no commands" in page
    assert "takes no commands" not in visitor.get("/services/web").text


def test_console_does_not_stop_itself(visitor: ConsoleClient) -> None:
    visitor.post("/services/console/stop")

    assert "devenv stop console" in visitor.get("/").text


def test_damaged_state_file_is_reported(visitor: ConsoleClient, folder: Path) -> None:
    (folder / "state.json").write_text("{")
    answer = visitor.get("/")

    assert answer.status_code == 503
    assert "state.json" in answer.text


def test_graph_puts_each_service_right_of_its_needs() -> None:
    services = {
        "db": ServiceState("healthy"),
        "setup": ServiceState("done", needs=("db", "gone")),
        "web": ServiceState("healthy", needs=("setup", "db")),
    }
    graph = graph_of(services)
    place = {node.name: node.x for node in graph.nodes}

    assert place["db"] < place["setup"] < place["web"]
    assert len(graph.edges) == 3


def test_memory_is_summed_by_process_group() -> None:
    assert sum(memory_of_groups().values()) > 1_000_000


def test_console_without_stack_opens_traces(tmp_path: Path) -> None:
    write_state(tmp_path)
    client = ConsoleClient(tmp_path, cloud="http://127.0.0.1:9", has_stack=False)
    client.sign_in()
    page = client.get("/missing").text

    assert client.get("/").headers["location"] == "/traces"
    assert client.get("/snapshots").status_code == 404
    assert 'href="/snapshots"' not in page
    assert 'href="/pubsub"' in page


def test_followed_logs_ask_again_while_the_cloud_is_away(tmp_path: Path) -> None:
    write_state(tmp_path)
    client = ConsoleClient(tmp_path, cloud="http://127.0.0.1:9")
    client.sign_in()
    answer = client.get("/logs/new?after=42&severity=ERROR")

    assert answer.status_code == 200
    assert 'hx-get="/logs/new?after=42&amp;severity=ERROR"' in answer.text


def test_time_of_another_day_has_its_date(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr(shell, "time", SimpleNamespace(time=lambda: now))

    assert re.fullmatch(r"[\d:]{8}\.\d{3}", clock(now).striptags())
    assert re.fullmatch(r"\d\d \w{3} [\d:]{8}\.\d{3}", clock(now - 3 * 86_400).striptags())
