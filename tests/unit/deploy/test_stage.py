"""Stage files: those of the repository, and what is wrong with others."""

from pathlib import Path
from typing import Any

import pytest

from deploy.errors import DeployError
from deploy.stage import DatabaseSize
from deploy.stage_file import STAGES, read_stage

TEXT = (STAGES / "dev.toml").read_text()
_ACCOUNT = "01AB23-456789-CDEF01"
_RATES = "\nmax_dispatches_per_second = 1.0\nmax_concurrent_dispatches = 1\n"


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
        (
            '[ "POSTMARK_SERVER_TOKEN" ]',
            "['CUSTOM_12_A']\ncustom_secrets = {12 = ['A']}",
            "CUSTOM_12_A in `secrets` would be the same secret as one in `[custom_secrets]`",
        ),
        ("[env]", "[env", "dev.toml: Expected ']' at the end of a table declaration"),
        ("project =", "name = 'x'\nproject =", "dev.toml:3: unknown key `name`. The stage has the name"),
        ("[env]", f"x = {'[' * 5000}", "dev.toml: maximum recursion depth exceeded"),
        ("min_instances = 0", "min_instances = 9", "in `[web]` `min_instances` is 9 and `max_instances` 2"),
        ('memory = "2Gi"', 'memory = "16Gi"', "`memory` is '16Gi', and 2 processors need 0.5 to 8 GiB"),
        ("timeout = 300", "timeout = '300'", "`web.timeout` is '300', which must be a valid integer"),
        ("[env]", "[buckets]\nfiles = 'same'\nmedia = 'same'\n[env]", "`files` and `media` are both 'same'"),
        ("[web]", "former_budget_accounts = ['1-2']\n[web]", "dev.toml:8: `former_budget_accounts.0` is '1-2', which"),
        ("[web]", f"former_budget_accounts = ['{_ACCOUNT}']\nbudget = {{account = '{_ACCOUNT}', amount = '5AUD'}}\n[web]",
         f"`former_budget_accounts` has {_ACCOUNT}, which has the budget: remove it there"),
        ("[env]", f"[queues.runs]{_RATES}min_backoff = 9.0\nmax_backoff = 1.0\n[env]", "`min_backoff` is 9 and"),
        ("[env]", f"[queues.runs]{_RATES}max_attempts = 0\n[env]", "`max_attempts` is 0: set it to 1 or more"),
        ("db-custom-1-3840", "db-perf-optimized-N-2", "and the edition is ENTERPRISE: ENTERPRISE has"),
        ("protected = false", "log_days = 8", "`log_days` is 8: set at most 7"),
        ('"POSTMARK_SERVER_TOKEN"', "'A', 'A'", "A is there twice"),
        ('"POSTMARK_SERVER_TOKEN"', "'API_KEY_PEPPER'", "run `python -m deploy secrets set dev API_KEY"),
        ("[env]", "[env]\nAPP_ROLE = 'web'", "APP_ROLE is set for each container: remove it"),
        ("[env]", '[env]\nNUL = "\\u0000"', "`env.NUL` is '\\x00', which must match"),
        ("[env]", "[env]\nSECRET_PIN = 1234", "`env.SECRET_PIN` is hidden-sha256-"),
        ('[ "POSTMARK_SERVER_TOKEN" ]', "{A = 'value'}", "`secrets` is a dict, which must be a valid list"),
    ],
)  # fmt: skip
def test_wrong_file_is_refused_with_line_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in TEXT
    refused = refusal(tmp_path, TEXT.replace(old, new, 1))

    assert refused.startswith("dev.toml:")
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
    edition: Any = "ENTERPRISE_PLUS" if "perf" in tier else "ENTERPRISE"

    assert DatabaseSize(tier=tier, edition=edition).connections == connections
