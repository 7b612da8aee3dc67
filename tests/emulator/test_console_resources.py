"""Resources in the console over a running emulated cloud: each kind in its list, and one record."""

from typing import Any

import pytest

from devenv.console.cloud import CloudClient
from devenv.console.resource_pages import PAGES
from devenv.gcp import Cloud
from tests.unit.devenv.console.console import ConsoleClient
from tests.waiting import until

PROJECT = "projects/validibot-local"


@pytest.fixture
def operator(cloud: Cloud) -> CloudClient:
    """Return a client to which no policy applies."""
    return CloudClient(cloud.plain_url, cloud.data)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_resource_page_lists_all_its_kinds(visitor: ConsoleClient, page: Any) -> None:
    answer = visitor.get(page.path)

    assert answer.status_code == 200, answer.text
    assert f"<h1>{page.title}</h1>" in answer.text
    assert visitor.get(f"{page.path}/{page.kinds[0].name}?name=nothing").status_code == 404
    assert visitor.get(f"{page.path}/nothing?name=nothing").status_code == 404


def test_network_shows_its_record_and_parts(visitor: ConsoleClient) -> None:
    page = visitor.get("/networks/networks?name=default").text

    assert "Private connections" in page
    assert "&#34;autoCreateSubnetworks&#34;: true" in page


def test_budget_of_any_account_is_listed(visitor: ConsoleClient, operator: CloudClient) -> None:
    account = "/v1/billingAccounts/012345-6789AB-CDEF01/budgets"
    amount = {"specifiedAmount": {"currencyCode": "EUR", "units": "125"}}
    body = {"displayName": "<monthly>", "amount": amount}
    host = "billingbudgets.googleapis.com"
    made = operator.api(host, account, verb="POST", body=body)
    listed = visitor.get("/budgets").text
    operator.api(host, f"/v1/{made['name']}", verb="DELETE")

    assert "&lt;monthly&gt;" in listed
    assert ">125<" in listed


def test_schema_page_has_the_definition(visitor: ConsoleClient, operator: CloudClient) -> None:
    host, path = "pubsub.googleapis.com", f"/v1/{PROJECT}/schemas"
    definition = '{"type": "record", "name": "R", "fields": [{"name": "x", "type": "string"}]}'
    body = {"type": "AVRO", "definition": definition}
    operator.api(host, path, verb="POST", body=body, schemaId="console-schema")
    page = visitor.get(f"/schemas/schemas?name={PROJECT}/schemas/console-schema").text
    operator.api(host, f"{path}/console-schema", verb="DELETE")

    assert "fields" in page


def test_instance_shows_databases_users_backups_and_operations(
    visitor: ConsoleClient, operator: CloudClient
) -> None:
    host, path = "sqladmin.googleapis.com", f"/v1/{PROJECT}/instances"
    settings = {"tier": "db-f1-micro", "edition": "ENTERPRISE"}
    body = {"name": "console-db", "databaseVersion": "POSTGRES_16", "settings": settings}
    operator.api(host, path, verb="POST", body={**body, "region": "us-west1"})
    try:
        until(lambda: "runnable" in visitor.get("/sql").text)
        page = visitor.get("/sql/instances?name=console-db").text
    finally:
        operator.api(host, f"{path}/console-db", verb="DELETE")

    for text in ("Databases", "Users", "It has no backup yet", "Operations", "CREATE"):
        assert text in page
