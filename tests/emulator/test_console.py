"""The console over a running emulated cloud: its pages, and the rights of the developer there."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from google.cloud import storage

from devenv.gcp import Cloud
from devenv.pytest_plugin import ActAs
from tests.unit.devenv.console.console import ConsoleClient, write_state


@pytest.fixture
def visitor(cloud: Cloud, tmp_path: Path) -> Iterator[ConsoleClient]:
    """Return a browser with a session."""
    write_state(tmp_path)
    token = tmp_path / "control-token"
    token.write_text(cloud.control_token)
    client = ConsoleClient(tmp_path, cloud=cloud.plain_url, cloud_token=token)
    client.sign_in()
    yield client
    client.close()


def test_journal_page_filters_calls_and_shows_one(visitor: ConsoleClient, act_as: ActAs) -> None:
    act_as("guest")
    with pytest.raises(Exception, match="403"):
        storage.Client().bucket("validibot-local").blob("secret.txt").download_as_bytes()
    page = visitor.get("/journal?caller=guest&method=objects.get&decision=denied").text

    assert "secret.txt" in page
    assert "deliver" not in page
    number = page.split('href="/journal/')[2].split('"')[0]
    call = visitor.get(f"/journal/{number}").text
    assert "storage.objects.get" in call
    assert 'data-state="denied"' in call


def test_journal_page_leaves_out_reading_of_the_console(visitor: ConsoleClient) -> None:
    assert visitor.get("/journal?caller=console").text.count('href="/journal/') == 1


def test_call_that_is_gone_returns_404(visitor: ConsoleClient) -> None:
    assert visitor.get("/journal/999999999").status_code == 404


def test_missing_page_lists_methods_that_are_not_emulated(
    visitor: ConsoleClient, cloud: Cloud
) -> None:
    headers = {"Host": "spanner.googleapis.com"}
    httpx.get(f"{cloud.plain_url}/v1/projects/p/instances", headers=headers, trust_env=False)

    assert "spanner GET /v1/projects/p/instances" in visitor.get("/journal/missing").text


def test_cloud_that_does_not_answer_is_reported(tmp_path: Path) -> None:
    write_state(tmp_path)
    client = ConsoleClient(tmp_path, cloud="http://127.0.0.1:9", cloud_token=tmp_path / "none")
    client.sign_in()

    answer = client.get("/journal")
    assert answer.status_code == 503
    assert "does not answer" in answer.text
