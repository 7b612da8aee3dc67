"""The checks of a stage file before users come."""

from pathlib import Path

import pytest

from deploy.cli import layout_of
from deploy.golive import machine_checks
from deploy.stage_file import STAGES
from deploy.verify import CheckFailed

FILE_CHECKS = 9


def failures(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the messages of the failing checks that need no cloud."""
    monkeypatch.setattr("deploy.google.GoogleCloud.number", "1")
    found = {}
    for check in list(machine_checks(layout_of(str(path))))[:FILE_CHECKS]:
        try:
            check.run()
        except CheckFailed as failed:
            found[check.name] = str(failed)
    return found


def test_file_of_the_repository_has_to_be_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failures(STAGES / "prod.toml", monkeypatch) == {
        "domain is set": "`domain` is 'validibot.example'. Set the host name that users know",
        "mail has a provider": "DEFAULT_FROM_EMAIL is 'Validibot <noreply@validibot.example>'. Set the "
        "address of the sender",
        "errors are reported": "set SENTRY_DSN in `secrets` or `[env]`",
        "alerts have addresses": "`emails` of `[alerts]` is ['operations@validibot.example']. Set the "
        "addresses of the operators",
    }


def test_complete_file_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (STAGES / "prod.toml").read_text().replace("validibot.example", "validibot.org")
    text = text.replace("[env]", '[env]\nSENTRY_DSN = "https://a@sentry.io/1"')
    (tmp_path / "prod.toml").write_text(text)

    assert failures(tmp_path / "prod.toml", monkeypatch) == {}


def test_trial_file_is_named_with_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (STAGES / "dev.toml").read_text().replace("[env]", '[env]\nDEMO_EMAIL = "a@b.org"')
    (tmp_path / "dev.toml").write_text(f"{text}\n[buckets]\nnoncurrent_days = 2\n")
    found = failures(tmp_path / "dev.toml", monkeypatch)

    assert found["no demonstration account"].startswith("remove DEMO_EMAIL from `[env]`")
    assert found["instances are kept warm"] == (
        "set `min_instances` of web and worker to 1 or more"
    )
    assert found["database is kept safe"].startswith("set `protected` and `high_availability`")
    assert found["deleted files can be restored"].endswith("to 7 or more")
