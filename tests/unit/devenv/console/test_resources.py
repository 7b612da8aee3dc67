"""Kinds of resources: what their columns show, and which paths their pages have."""

import pytest

from devenv.console.resource_pages import PAGES
from devenv.console.resources import ResourceColumn, cell, value_at

RECORD = {
    "name": "projects/p/topics/t",
    "enabled": False,
    "settings": {"tier": "small"},
    "labels": {"a": "1", "b": "2"},
    "conditions": [{"displayName": "deep"}, {"displayName": "old"}],
    "networks": ["global/networks/one", "global/networks/two"],
}


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (ResourceColumn("Tier", "settings.tier"), "small"),
        (ResourceColumn("Enabled", "enabled"), "no"),
        (ResourceColumn("Labels", "labels"), "a=1, b=2"),
        (ResourceColumn("Conditions", "conditions.displayName"), "deep, old"),
        (ResourceColumn("First", "conditions.0.displayName"), "deep"),
        (ResourceColumn("None", "conditions.7.displayName"), ""),
        (ResourceColumn("Networks", "networks", "short"), "one, two"),
        (ResourceColumn("Missing", "settings.none.at.all"), ""),
        (ResourceColumn("Topic", "name", "short"), "t"),
    ],
)
def test_cell_shows_the_value_at_a_path(column: ResourceColumn, text: str) -> None:
    assert cell(RECORD, column) == text


def test_value_below_a_text_is_none() -> None:
    assert value_at(RECORD, "name.first") is None


def test_each_resource_page_has_its_own_path_and_kinds() -> None:
    assert len({page.path for page in PAGES}) == len(PAGES)
    for page in PAGES:
        assert len({kind.name for kind in page.kinds}) == len(page.kinds) > 0
