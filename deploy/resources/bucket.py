"""Buckets of Cloud Storage."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from google.api_core.exceptions import Conflict, Forbidden

from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command, pairs


@dataclass(frozen=True, kw_only=True)
class Bucket(Resource):
    """A bucket with uniform access and versions; `is_public` allows `allUsers` in its policy.

    `lifecycle` are rules as in https://cloud.google.com/storage/docs/lifecycle.
    """

    kind: ClassVar[str] = "bucket"
    holds_data: ClassVar[bool] = True

    cloud: GoogleCloud
    name: str
    labels: Mapping[str, str]
    is_public: bool = False
    lifecycle: Sequence[Mapping[str, Any]] = ()

    def desired(self) -> Settings:
        return {
            "location": self.cloud.region,
            "uniform_access": True,
            "public_access_prevention": "inherited" if self.is_public else "enforced",
            "versioning": True,
            "lifecycle": [dict(rule) for rule in self.lifecycle],
            "labels": dict(self.labels),
        }

    def read(self) -> Settings | None:
        try:
            found = self.cloud.buckets.lookup_bucket(self.name)
        except Forbidden as error:
            raise self._taken() from error
        if found is None:
            return None
        iam = found.iam_configuration
        return {
            "location": found.location.lower(),
            "uniform_access": iam.uniform_bucket_level_access_enabled,
            "public_access_prevention": iam.public_access_prevention,
            "versioning": found.versioning_enabled,
            "lifecycle": [dict(rule) for rule in found.lifecycle_rules],
            "labels": dict(found.labels),
        }

    def create(self) -> None:
        bucket = self._wanted(self.cloud.buckets.bucket(self.name))
        try:
            self.cloud.buckets.create_bucket(bucket, location=self.cloud.region)
        except Conflict as error:
            raise self._taken() from error

    def update(self, current: Settings) -> None:
        if current["location"] != self.cloud.region:
            raise DeployError(
                f"{self.address} is in {current['location']}, and a bucket cannot move to "
                f"{self.cloud.region}: set `region` back, or choose another name in `[buckets]`, "
                "then run `plan`."
            )
        self._wanted(self.cloud.buckets.get_bucket(self.name)).patch()

    def delete(self) -> None:
        bucket = self.cloud.buckets.bucket(self.name)
        for blob in self.cloud.buckets.list_blobs(bucket, versions=True):
            blob.delete()
        bucket.delete()

    def gcloud(self, action: str, current: Settings) -> list[str]:
        url = f"gs://{self.name}"
        if action == "delete":
            return [command("storage", "rm", url, recursive=True, all_versions=True)]
        flags: dict[str, Any] = {"public_access_prevention": not self.is_public}
        made = []
        if action == "create":
            made = [
                command(
                    *("storage", "buckets", "create", url),
                    location=self.cloud.region,
                    uniform_bucket_level_access=True,
                    **flags,
                )
            ]
        if self.lifecycle:
            rules = json.dumps({"rule": [dict(rule) for rule in self.lifecycle]})
            made.append(f"printf %s {shlex.quote(rules)} > lifecycle.json")
        return [
            *made,
            command(
                *("storage", "buckets", "update", url, "--versioning"),
                update_labels=pairs(self.labels),
                lifecycle_file="lifecycle.json" if self.lifecycle else "",
                clear_lifecycle=bool(current.get("lifecycle")) and not self.lifecycle,
            ),
        ]

    def _wanted(self, bucket: Any) -> Any:
        bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        prevention = self.desired()["public_access_prevention"]
        bucket.iam_configuration.public_access_prevention = prevention
        bucket.versioning_enabled = True
        bucket.lifecycle_rules = [dict(rule) for rule in self.lifecycle]
        bucket.labels = dict(self.labels)
        return bucket

    def _taken(self) -> DeployError:
        return DeployError(
            f"{self.address}: the name is taken by another project, or the deployer may not read "
            "the bucket. Choose another name in `[buckets]` of the stage file, then run `plan`."
        )
