"""Stage files: those of the repository, and what is wrong with others."""

from pathlib import Path

import pytest

from deploy.errors import DeployError
from deploy.stage import STAGES, DatabaseSize, read_stage

TEXT = (STAGES / "dev.toml").read_text()


def refusal(folder: Path, text: str) -> str:
    (folder / "dev.toml").write_text(text)
    with pytest.raises(DeployError) as refused:
        read_stage(str(folder / "dev.toml"))
    return str(refused.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_stage_of_the_repository_is_valid(name: str) -> None:
    stage = read_stage(name, image_tag="0.2.0")

    assert (stage.name, stage.region, stage.image_tag) == (name, "australia-southeast1", "0.2.0")
    assert stage.named("web") == f"{name}-web"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "image_tag =",
            "image_tga =",
            "dev.toml:5: unknown key `image_tga`. Allowed keys here are project, region, ",
        ),
        ('cpu = "2"', 'cpu = "3"', "dev.toml:17: `worker.cpu` is '3', which must be '1', '2', '4'"),
        ("concurrency = 40", "parallel = 40", "dev.toml:11: unknown key `web.parallel`. Allowed"),
        ('memory = "2Gi"', "", "dev.toml:16: the key `worker.memory` is missing."),
        ('region = "australia-southeast1"', 'region = "Sydney"', "dev.toml:4: `region` is 'Sydney'"),
        (
            "[web]",
            'custom_subnetwork = "in"\n[web]',
            "dev.toml:1: `custom_subnetwork` is for custom validators: set `custom_validators` to true.",
        ),
        (
            "[web]",
            "[custom_secrets]\nacme = []\n[web]",
            "dev.toml:9: `custom_secrets.acme` is 'acme', which must match",
        ),
        ("[env]", "[env", "dev.toml: Expected ']' at the end of a table declaration"),
    ],
)  # fmt: skip
def test_wrong_file_is_refused_with_line_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in TEXT
    refused = refusal(tmp_path, TEXT.replace(old, new, 1))

    assert refused.startswith(message.partition(":")[0])
    assert message in refused


def test_unknown_stage_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DeployError, match="Known stages are dev, prod: copy one"):
        read_stage("nowhere")
    with pytest.raises(DeployError, match="'no_name' cannot be the name of a stage"):
        read_stage("no_name")


def test_database_with_another_address_is_refused(tmp_path: Path) -> None:
    text = TEXT.replace("[env]", '[env]\nDATABASE_URL = "postgres://a@b/c"')

    assert refusal(tmp_path, text) == (
        "dev.toml:1: `[database]` makes DATABASE_URL: remove it from `secrets` and `[env]`, or the table."
    )


@pytest.mark.parametrize(
    ("tier", "connections"),
    [
        ("db-custom-1-3840", 100),
        ("db-custom-2-7680", 400),
        ("db-g1-small", 50),
        ("db-perf-optimized-N-2", 500),
    ],
)
def test_machine_type_limits_connections(tier: str, connections: int) -> None:
    assert DatabaseSize(tier=tier).connections == connections
