"""Names and addresses of a stage, which its resources use to refer to each other."""

from functools import cached_property
from pathlib import Path

from deploy.google import GoogleCloud
from deploy.stage import Stage
from validators.sdk.manifest import MANIFEST_NAME, ValidatorManifest, read_manifest

ROOT = Path(__file__).parents[2]
# The account of the validators of organisations, without the prefix of the stage.
CUSTOM_ACCOUNT = "validator-custom"
# The account of whose ID tokens validators at Modal get one, also without that prefix.
MODAL_ACCOUNT = "validator-modal"


class StageNames:
    """The names of one stage in its project."""

    def __init__(self, stage: Stage, cloud: GoogleCloud) -> None:
        self.stage = stage
        self.cloud = cloud

    @cached_property
    def validators(self) -> list[ValidatorManifest]:
        """The manifests of the repository's container validators."""
        folders = sorted(path.parent for path in (ROOT / "validators").glob(f"*/{MANIFEST_NAME}"))
        return [read_manifest(folder) for folder in folders]

    @property
    def callers(self) -> list[str]:
        """The accounts that may call the worker, without the prefix of the stage."""
        custom = [CUSTOM_ACCOUNT] if self.stage.custom_validators else []
        modal = [MODAL_ACCOUNT] if self.stage.modal else []
        reading = self.secret_accounts.values()
        shipped = map(validator_account, self.validators)
        return ["tasks", "scheduler", *shipped, *custom, *reading, *modal]

    @property
    def secret_accounts(self) -> dict[str, str]:
        """The accounts of custom validators with secrets, by the number of their organisation.

        They have not the prefix of the stage. Each organisation has its own: a validator can read
        whatever its account can.
        """
        return {number: f"custom-{number}" for number in self.stage.custom_secrets}

    def account(self, name: str) -> str:
        """Return the address of an account of this stage."""
        return self.cloud.email(self.stage.named(name))

    @property
    def repository(self) -> str:
        return self.stage.named("images")

    def image(self, name: str, tag: str) -> str:
        """Return the name of an image in the repository of this stage."""
        host = f"{self.cloud.region}-docker.pkg.dev"
        return f"{host}/{self.cloud.project}/{self.repository}/{name}:{tag}"

    def validator_image(self, manifest: ValidatorManifest) -> str:
        """Return the name of a validator's image in that repository."""
        name = manifest.image.rpartition(":")[0].rpartition("/")[2]
        return self.image(name, manifest.version)

    @property
    def modal_app(self) -> str:
        """The name of the app at Modal with the validators of this stage."""
        return self.stage.named("validators")

    def secret(self, variable: str) -> str:
        """Return the name of the secret with the value of a variable."""
        return self.stage.named(variable.lower().replace("_", "-"))

    def custom_secret(self, number: str, variable: str) -> str:
        """Return the name of a secret for the validators of an organisation."""
        return self.secret(f"custom_{number}_{variable}")

    @property
    def web_url(self) -> str:
        return self.cloud.service_url(self.stage.named("web"))

    @property
    def worker_url(self) -> str:
        return self.cloud.service_url(self.stage.named("worker"))

    @property
    def site_url(self) -> str:
        """The address that users know."""
        return f"https://{self.stage.domain}" if self.stage.domain else self.web_url


def validator_account(manifest: ValidatorManifest) -> str:
    """Return the account of a validator, without the prefix of the stage."""
    return f"validator-{manifest.slug}"


def label(text: str) -> str:
    """Return a version as the value of a label, which has no dots."""
    return text.lower().replace(".", "-")[:63]
