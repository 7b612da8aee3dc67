"""Images of the validators: real engines, unprivileged user, small size."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from tests import engine as engines
from tests.docker import bundle
from validators.sdk.manifest import ValidatorManifest, read_manifest

SLUGS = sorted(path.parent.name for path in Path("validators").glob("*/validator.toml"))
# Measured 2026-11: EnergyPlus 287 MB, FMU 268 MB, of which the base image is 131 MB.
MOST_MEGABYTES = 330  # that of FMU, of which DuckDB is 67 MB, and the base image 131 MB


def image(engine: DockerClient, manifest: ValidatorManifest) -> dict[str, Any]:
    attributes: dict[str, Any] = engine.images.get(manifest.image).attrs
    return attributes


@pytest.mark.parametrize("expect", ["pass", "fail"])
@pytest.mark.parametrize("slug", SLUGS)
def test_unprivileged_container_gives_expected_verdicts(
    engine: DockerClient,
    manifests: dict[str, ValidatorManifest],
    slug: str,
    expect: str,
    tmp_path: Path,
) -> None:
    sample = [found for found in manifests[slug].samples if found.expect == expect][-1]

    ended = bundle.run(engine, manifests[slug], sample.path, tmp_path, inputs=sample.inputs)

    status = {"pass": "success", "fail": "failed_validation"}[expect]
    assert (ended.code, ended.output["status"]) == (0, status), ended.log


def test_energyplus_image_simulates(
    engine: DockerClient, manifests: dict[str, ValidatorManifest], tmp_path: Path
) -> None:
    manifest = manifests["energyplus"]

    ended = bundle.run(engine, manifest, manifest.samples[0].path, tmp_path)

    assert ended.output["outputs"]["metrics"]["site_electricity_kwh"] > 1000
    assert (tmp_path / "outputs/eplusout.err").read_text().startswith("Program Version,EnergyPlus")


def test_fmu_image_simulates(
    engine: DockerClient, manifests: dict[str, ValidatorManifest], tmp_path: Path
) -> None:
    manifest = manifests["fmu"]

    ended = bundle.run(engine, manifest, manifest.samples[0].path, tmp_path)

    assert ended.output["outputs"]["simulation_time_reached"] == pytest.approx(1.0)
    assert ended.output["outputs"]["output_values"]


def test_noexec_scratch_gives_runtime_failure(
    engine: DockerClient, manifests: dict[str, ValidatorManifest], tmp_path: Path
) -> None:
    manifest = manifests["fmu"]

    ended = bundle.run(
        engine, manifest, manifest.samples[0].path, tmp_path, tmpfs={"/tmp": "size=64m"}
    )

    assert (ended.code, ended.output["status"]) == (1, "failed_runtime")
    assert "noexec" in ended.output["messages"][0]["text"]


@pytest.mark.parametrize("slug", SLUGS)
def test_image_has_labels_and_unprivileged_user(
    engine: DockerClient, manifests: dict[str, ValidatorManifest], slug: str
) -> None:
    config = image(engine, manifests[slug])["Config"]

    assert config["User"] == "1000:1000"
    assert config["WorkingDir"] == "/app"
    assert config["Labels"]["io.validibot.validator.slug"] == slug
    assert config["Labels"]["org.opencontainers.image.version"] == manifests[slug].version
    assert config["Labels"]["org.opencontainers.image.title"]
    assert len(config["Labels"]["org.opencontainers.image.revision"]) >= 40


@pytest.mark.parametrize("slug", SLUGS)
def test_image_size_is_below_limit(
    engine: DockerClient, manifests: dict[str, ValidatorManifest], slug: str
) -> None:
    assert image(engine, manifests[slug])["Size"] / 1e6 <= MOST_MEGABYTES


@pytest.mark.parametrize(
    ("recipe", "lock", "options"),
    [
        ("validator", "validators/small/requirements.txt", ("--build-arg", "VALIDATOR=small")),
        ("django", "requirements/product.txt", ("--target", "packages")),
    ],
)
def test_layers_contain_no_build_secrets(
    engine: DockerClient, tmp_path: Path, recipe: str, lock: str, options: tuple[str, ...]
) -> None:
    """The recipes, with a lock of one package: how many there are changes nothing."""
    planted = b"planted-3f9c1d"
    bundle_of_this_machine = Path("/etc/ssl/certs/ca-certificates.crt")
    certificates, settings, context = (
        tmp_path / name for name in ("ca.crt", "pip.conf", "context")
    )
    certificates.write_bytes(b"# " + planted + b"\n" + bundle_of_this_machine.read_bytes())
    settings.write_bytes(b"[global]\n# " + planted + b"\ntimeout = 60\n")
    shutil.copytree("validators/sdk", context / "validators/sdk")
    shutil.copy("validators/__init__.py", context / "validators")
    (context / lock).parent.mkdir(exist_ok=True)
    packages = re.split(
        r"^(?=\w)", Path("requirements/product.txt").read_text(), flags=re.MULTILINE
    )
    (context / lock).write_text(packages[1])
    tag = f"validibot-planted:{recipe}"
    engines.build(
        "env", f"SSL_CERT_FILE={certificates}", f"PIP_CONFIG_FILE={settings}",
        "compose/build.sh", "--tag", tag, "--no-cache", *options,
        "--file", f"compose/production/{recipe}/Dockerfile", str(context),
    )  # fmt: skip

    assert [chunk for chunk in _saved(engine, tag) if planted in chunk] == []
    assert planted.decode() not in json.dumps(engine.images.get(tag).history())
    engine.images.remove(tag)


def _saved(engine: DockerClient, tag: str) -> Iterator[bytes]:
    """Yield every layer in overlapping pieces."""
    before = b""
    for chunk in engine.images.get(tag).save():
        yield before[-64:] + chunk
        before = chunk


def test_added_validator_needs_no_other_edit(engine: DockerClient, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in ("compose", "validators"):
        shutil.copytree(name, checkout / name, symlinks=True)
    (checkout / ".venv").symlink_to(engines.ROOT / ".venv")
    folder = checkout / "validators/second"
    (checkout / "validators/fmu").rename(folder)
    for file in (*folder.glob("*.py"), folder / "validator.toml"):
        text = file.read_text().replace("validators.fmu", "validators.second")
        file.write_text(text.replace("validibot/validator-fmu", "validibot/validator-second"))

    engines.build(str(checkout / "compose/production/validator/build.sh"), "second")

    added = read_manifest(folder)
    (tmp_path / "run").mkdir()
    ended = bundle.run(engine, added, added.samples[0].path, tmp_path / "run")
    engine.images.remove(added.image)
    assert ended.output["status"] == "success", ended.log


def test_foreign_container_answers(
    engine: DockerClient,
    manifests: dict[str, ValidatorManifest],
    standin_image: str,
    tmp_path: Path,
) -> None:
    manifest = manifests["energyplus"]
    config = engine.images.get(standin_image).attrs["Config"]

    ended = bundle.run(engine, manifest, manifest.samples[0].path, tmp_path, image=standin_image)

    assert (config["User"], config["WorkingDir"]) == ("4711:4711", "/srv/foreign")
    assert (ended.code, ended.output["status"]) == (0, "success"), ended.log
