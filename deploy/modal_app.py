"""The app at Modal with a function for each validator, made from the images of a stage."""

from collections.abc import Callable, Sequence
from typing import Any

from deploy.errors import DeployError
from deploy.layout import Layout
from validators.sdk.manifest import ValidatorManifest

# Validators at Modal call the worker with an ID token that is valid for an hour and is not renewed.
_LONGEST_SECONDS = 50 * 60


def publish(layout: Layout, *, tell: Callable[[str], None]) -> None:
    """Deploy the app of a stage, which replaces the one before; `tell` gets a line for each function.

    Raises DeployError.
    """
    modal = _modal()
    wanted = layout.stage.modal
    if wanted is None:
        raise DeployError(
            f"The stage {layout.stage.name} has no table `[modal]`. Add it to the stage file, run `apply`, "
            "then run `modal` again; docs/modes/modal.md describes it."
        )
    environment = wanted.environment or None
    app = modal.App(layout.names.modal_app)
    secret = modal.Secret.from_name(
        wanted.registry_secret, environment_name=environment, required_keys=["SERVICE_ACCOUNT_JSON"]
    )
    for manifest in layout.names.validators:
        _check_time(manifest)
        tag = layout.names.validator_image(manifest)
        # The image's user may not install what Modal adds; the function starts the validator as that user.
        image = modal.Image.from_registry(
            tag, secret=secret, setup_dockerfile_commands=["USER root"]
        ).entrypoint([])
        options = _options(layout, manifest)
        app.function(image=image, **options)(container_function(manifest.command))
        tell(f"function/{app.name}/{manifest.job}: {tag}, {options['memory'][1]} MiB")
    try:
        app.deploy(environment_name=environment, tag=layout.stage.image_tag)
    except (modal.exception.Error, OSError) as error:
        raise DeployError(
            f"modal/{app.name}: {' '.join(str(error).split()).rstrip('.')}. Is there a token (`modal token new`), "
            f"the secret {wanted.registry_secret}, and are the images pushed? Then run `modal` again."
        ) from error


def _options(layout: Layout, manifest: ValidatorManifest) -> dict[str, Any]:
    """Return the arguments of `App.function`: one call for each container, and no right at Modal."""
    memory = max(512, manifest.budgets.memory_mb)
    reporting = {name: dsn for name, dsn in layout.stage.env.items() if name == "SENTRY_DSN"}
    assert layout.stage.modal, "the caller has checked it"
    return {
        "name": manifest.job,
        "serialized": True,
        "include_source": False,
        "cpu": 2.0 if memory > 2048 else 1.0,
        "memory": (memory, memory),
        "timeout": manifest.budgets.timeout_seconds,
        "retries": 0,
        "region": layout.stage.modal.region or None,
        "single_use_containers": True,
        "restrict_modal_access": True,
        "env": {"VALIDATOR_VERSION": manifest.version, **reporting},
    }


def container_function(command: Sequence[str]) -> Callable[[dict[str, str]], int]:
    """Return the function that runs a validator in its image.

    Modal pickles it. It is a closure that imports what it needs itself, because the image has none of
    this code.
    """
    program = list(command)

    def validate(environment: dict[str, str]) -> int:
        """Run the validator with these variables; return its exit code."""
        import os  # noqa: PLC0415
        import subprocess  # noqa: PLC0415

        import modal  # noqa: PLC0415

        # The program runs files that people send: it gets none of the container's own variables.
        own = {name: value for name, value in os.environ.items() if name[:6] != "MODAL_"}  # noqa: TID251
        execution = {"VALIDIBOT_EXECUTION": modal.current_function_call_id()}
        ended = subprocess.run(  # noqa: S603 - the command of the manifest
            program,
            env=own | environment | execution,
            cwd="/app",
            user=1000,
            group=1000,
            extra_groups=[],
            check=False,
        )
        return ended.returncode

    return validate


def _check_time(manifest: ValidatorManifest) -> None:
    seconds = manifest.budgets.timeout_seconds
    if seconds > _LONGEST_SECONDS:
        raise DeployError(
            f"validators/{manifest.slug}: `budgets.timeout_seconds` is {seconds}, but at Modal a validator has "
            f"at most {_LONGEST_SECONDS} s, because its ID token ends after an hour. Lower it, or remove "
            "the table `[modal]` from the stage file."
        )


def _modal() -> Any:
    try:
        import modal  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise DeployError(
            f"The package {error.name} is missing, which the extra `modal` brings. Run `pip install "
            "--require-hashes -r requirements/modal.txt`, then run `modal` again."
        ) from error
    return modal
