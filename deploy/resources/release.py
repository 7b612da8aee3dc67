"""The run of a release job: done once for each version of the product, before traffic moves."""

from dataclasses import dataclass
from typing import ClassVar

from google.api_core.exceptions import GoogleAPICallError, NotFound

from deploy.errors import DeployError
from deploy.google import GoogleCloud, finish
from deploy.resource import Resource, Settings, command


@dataclass(frozen=True, kw_only=True)
class Release(Resource):
    """A successful execution of a job with the label `release`.

    It cannot be taken back; the job's own resource is what is deleted.
    """

    kind: ClassVar[str] = "release"

    cloud: GoogleCloud
    name: str
    release: str

    def desired(self) -> Settings:
        return {"release": self.release}

    def read(self) -> Settings | None:
        """Return the release of the newest successful execution."""
        try:
            found = list(self.cloud.executions.list_executions(parent=self._job))
        except NotFound:
            return None
        done = [each for each in found if each.succeeded_count]
        if not done:
            return None
        newest = max(done, key=lambda each: each.create_time)
        return {"release": newest.labels.get("release", "")}

    def create(self) -> None:
        try:
            finish(self.cloud.jobs.run_job(name=self._job))
        except NotFound:
            raise
        except GoogleAPICallError as error:
            raise DeployError(
                f"{self.address} failed: {error.message.rstrip('.')}. The services run the old "
                "version still. Read its log with `gcloud run jobs executions list --job="
                f"{self.name} --region={self.cloud.region}`, mend it, then run `apply` again."
            ) from error

    def update(self, current: Settings) -> None:
        self.create()

    def delete(self) -> None:
        """Leave the executions, which go with their job."""

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("run", "jobs", "execute", self.name, "--wait")
        return [] if action == "delete" else [command(*words, region=self.cloud.region)]

    @property
    def _job(self) -> str:
        return f"{self.cloud.location}/jobs/{self.name}"
