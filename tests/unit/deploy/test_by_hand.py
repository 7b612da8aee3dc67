"""Commands that `apply` leaves to a person."""

from pathlib import Path

from deploy.by_hand import commands_by_hand
from deploy.cli import layout_of
from deploy.stage_file import STAGES


def test_mapped_domain_leaves_the_records_of_its_dns(tmp_path: Path) -> None:
    text = (STAGES / "prod.toml").read_text()
    (tmp_path / "prod.toml").write_text(text.replace("australia-southeast1", "us-west1"))

    (line,) = commands_by_hand(layout_of(str(tmp_path / "prod.toml")))

    assert line == (
        "gcloud beta run domain-mappings describe --domain=validibot.example --region=us-west1 "
        "'--format=yaml(status.resourceRecords)'"
    )


def test_region_without_mappings_leaves_a_load_balancer() -> None:
    (line,) = commands_by_hand(layout_of("prod"))

    assert line.startswith("# australia-southeast1 has no domain mappings: put a load balancer")


def test_domain_that_others_map_leaves_nothing(tmp_path: Path) -> None:
    text = (STAGES / "prod.toml").read_text()
    (tmp_path / "prod.toml").write_text(f"map_domain = false\n{text}")

    assert list(commands_by_hand(layout_of(str(tmp_path / "prod.toml")))) == []


def test_stage_without_domain_leaves_nothing() -> None:
    assert list(commands_by_hand(layout_of("dev"))) == []
