"""The catalogue pages of validators."""

from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from tests.factories import MembershipFactory, ValidatorFactory
from validibot.accounts.models import Role
from validibot.workflows.catalogue import sync_validators
from validibot.workflows.models import Validator


@pytest.fixture
def pages(client: Client, db: None, settings: Settings, tmp_path: Path) -> str:
    """The address of the catalogue, with all validators, for a signed-in viewer."""
    settings.DATA_ROOT = tmp_path.as_uri()
    sync_validators(settings.VALIDATORS_DIR)
    member = MembershipFactory.create(role=Role.VIEWER)
    client.force_login(member.user)
    return f"/app/orgs/{member.organisation.slug}/validators/"


def test_every_validator_has_a_page(client: Client, pages: str) -> None:
    listed = client.get(pages).content.decode()

    for validator in Validator.objects.all():
        shown = client.get(f"{pages}{validator.slug}/")
        assert shown.status_code == 200
        assert validator.title in listed
        assert f"validator: {validator.slug}@{validator.version}" in shown.content.decode()


def test_page_shows_settings_ports_limits_and_example(client: Client, pages: str) -> None:
    page = client.get(f"{pages}schematron/").content.decode()
    rows = {row.setting.name: row for row in client.get(f"{pages}schematron/").context["rows"]}

    assert rows["max_findings"].kind == "whole number, 1 to 5000"
    assert rows["max_findings"].default == "500"
    assert rows["schematron_text"].setting.is_required
    assert "xml_document" in page
    assert "300 s" in page
    assert "schematron_text: |" in page


def test_page_shows_newest_active_version_unless_another_is_asked_for(
    client: Client, pages: str
) -> None:
    ValidatorFactory.create(slug="schematron", version="0.0.9", is_active=False)

    newest = client.get(f"{pages}schematron/")
    old = client.get(f"{pages}schematron/?version=0.0.9")

    assert newest.context["validator"].version == "0.1.0"
    assert not old.context["may_use"]
    assert client.get(f"{pages}schematron/?version=7").status_code == 404
