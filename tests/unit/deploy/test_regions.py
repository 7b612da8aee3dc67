"""Two stages of one project, one for each region, share nothing that holds data."""

from pathlib import Path

import pytest

from deploy import stage_file as stages
from deploy.google import GoogleCloud
from deploy.layout import Layout
from deploy.resources.access import RoleBindings


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Layout, Layout]:
    """The stages `eu` and `us`."""
    template = (stages.STAGES / "dev.toml").read_text()
    monkeypatch.setattr(GoogleCloud, "number", "123456789012")
    made = []
    for name, region in (("eu", "europe-west4"), ("us", "us-east1")):
        text = template.replace("australia-southeast1", region)
        (tmp_path / f"{name}.toml").write_text(f'{text}DATA_REGION = "{name}"\n')
        stage = stages.read_stage(str(tmp_path / f"{name}.toml"))
        made.append(Layout(stage, GoogleCloud(stage.project, stage.region), lambda *_: None))
    eu, us = made
    return eu, us


def test_stages_share_no_bucket_secret_queue_database_or_account(
    layouts: tuple[Layout, Layout],
) -> None:
    eu, us = ({each.address for each in layout.resources()} for layout in layouts)

    assert {each.partition("/")[0] for each in eu & us} <= {"apis"}


def test_accounts_of_a_stage_have_roles_on_its_own_resources_only(
    layouts: tuple[Layout, Layout],
) -> None:
    for layout in layouts:
        bindings = [each for each in layout.resources() if isinstance(each, RoleBindings)]
        members = {name for each in bindings for names in each.roles.values() for name in names}

        assert bindings
        assert {name for name in members if not name.startswith(layout.stage.name)} <= {"allUsers"}


def test_callback_addresses_and_regions_of_stages_differ(layouts: tuple[Layout, Layout]) -> None:
    eu, us = (layout.product.variables for layout in layouts)

    for name in ("WORKER_URL", "SITE_URL", "GCS_BUCKET", "ALLOWED_CALLERS", "DATA_REGION"):
        assert eu[name] != us[name]
