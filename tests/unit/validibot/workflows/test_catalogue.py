"""The validator catalogue."""

import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from validators.sdk.manifest import ManifestInvalid
from validibot.engines import ENGINES
from validibot.workflows.catalogue import read_manifests, sync_validators
from validibot.workflows.models import Validator

ENERGYPLUS = Path(settings.VALIDATORS_DIR) / "energyplus" / "validator.toml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "energyplus").mkdir()
    (tmp_path / "sdk").mkdir()
    shutil.copy(ENERGYPLUS, tmp_path / "energyplus")
    return tmp_path


@pytest.mark.django_db
class TestSync:
    def test_engines_and_manifests_become_rows(self, folder: Path) -> None:
        counts = sync_validators(folder)

        assert counts == {"created": len(ENGINES) + 1, "changed": 0, "deactivated": 0}
        assert Validator.objects.get(slug="json-schema").engine == "json_schema"
        energyplus = Validator.objects.get(slug="energyplus")
        assert not energyplus.in_process
        assert energyplus.job == "validibot-validator-energyplus"
        assert {"extension": ".idf", "mime_type": "application/vnd.energyplus.idf"} in (
            energyplus.accepts
        )
        assert [(port["port_key"], port["channel"]) for port in energyplus.ports] == [
            ("primary_model", "input_files"),
            ("weather_file", "resource_files"),
            ("design_days", "resource_files"),
            ("weather_statistics", "resource_files"),
        ]

    def test_second_sync_changes_nothing(self, folder: Path) -> None:
        sync_validators(folder)
        before = list(Validator.objects.values())

        assert sync_validators(folder) == {"created": 0, "changed": 0, "deactivated": 0}
        assert list(Validator.objects.values()) == before

    def test_sync_updates_changed_rows(self, folder: Path) -> None:
        sync_validators(folder)
        Validator.objects.filter(slug="energyplus").update(title="other", is_active=False)

        assert sync_validators(folder)["changed"] == 1
        assert Validator.objects.get(slug="energyplus", is_active=True).title == "EnergyPlus"

    def test_validator_without_manifest_becomes_inactive(self, folder: Path) -> None:
        sync_validators(folder)
        (folder / "energyplus" / "validator.toml").unlink()

        assert sync_validators(folder)["deactivated"] == 1
        assert not Validator.objects.get(slug="energyplus").is_active

    def test_new_version_adds_row_and_deactivates_old(self, folder: Path) -> None:
        sync_validators(folder)
        path = folder / "energyplus" / "validator.toml"
        path.write_text(path.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))

        assert sync_validators(folder) == {"created": 1, "changed": 0, "deactivated": 1}
        assert Validator.objects.get(slug="energyplus", is_active=True).version == "0.2.0"

    def test_two_manifests_of_one_version_are_refused(self, folder: Path) -> None:
        shutil.copytree(folder / "energyplus", folder / "again")

        with pytest.raises(ManifestInvalid, match=r"Two manifests describe energyplus 0\.1\.0"):
            sync_validators(folder)
        assert not Validator.objects.exists()

    def test_sync_command_prints_counts(self) -> None:
        output, again = StringIO(), StringIO()
        call_command("sync_validators", stdout=output)
        call_command("sync_validators", json=True, stdout=again)

        assert f"{Validator.objects.count()} created, 0 changed, 0 deactivated" in output.getvalue()
        counts = json.loads(again.getvalue())["validators"]
        assert counts == {"created": 0, "changed": 0, "deactivated": 0}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('slug = "energyplus"', 'slug = "Energy Plus"', "`slug`"),
        ('slug = "energyplus"', "", "`slug`: Field required"),
        ('version = "0.1.0"', "version = 1", "`version`"),
        ("timeout_seconds = 1500", "timeout_seconds = 0", "`budgets.timeout_seconds`"),
        ('extension = ".idf"', 'extension = "idf"', "`accepts.0.extension`"),
        ('role = "primary-model"', 'rôle = "primary-model"', "cannot be read"),
        ('title = "EnergyPlus"', 'title = "EnergyPlus"\nkind = "x"', "`kind`: Extra inputs"),
    ],
)
def test_invalid_manifest_error_names_field(folder: Path, old: str, new: str, fault: str) -> None:
    path = folder / "energyplus" / "validator.toml"
    path.write_text(path.read_text().replace(old, new, 1))

    with pytest.raises(ManifestInvalid) as refusal:
        read_manifests(folder)

    assert fault in str(refusal.value)
    assert "validator.toml" in str(refusal.value)
