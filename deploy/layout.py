"""The resources of a stage, in the order in which they are made.

Read it from top to bottom: identities, files, secrets, queues, validators, the release, the two
services, and who may use each of them.
"""

import secrets as generator
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.resource import Resource
from deploy.resources.access import ALL_USERS, RoleBindings
from deploy.resources.account import Account
from deploy.resources.apis import Apis
from deploy.resources.bucket import Bucket
from deploy.resources.container import RunContainer
from deploy.resources.job import Job
from deploy.resources.queue import Queue
from deploy.resources.release import Release
from deploy.resources.repository import Repository
from deploy.resources.schedule import SchedulerEntry
from deploy.resources.secret import Secret
from deploy.resources.service import NEXT, Service
from deploy.resources.traffic import Traffic
from deploy.stage import ServiceSize, Stage, variables_of
from validators.sdk.manifest import MANIFEST_NAME, ValidatorManifest, read_manifest

ROOT = Path(__file__).parent.parent
APIS = (
    *("artifactregistry", "cloudresourcemanager", "cloudscheduler", "cloudtasks", "iam"),
    *("iamcredentials", "run", "secretmanager", "serviceusage", "storage", "sts"),
)
_GENERATED = ("DJANGO_SECRET_KEY", "API_KEY_PEPPER")
_SECRET_BYTES = 48  # 64 characters; the product asks for at least 50
_RUNS = "runs/"  # the product's folder for the attempts of runs
CheckRevision = Callable[[str, str], None]


class Layout:
    """The resources of one stage.

    `check` gets the role of a service and the URL of its new revision before traffic moves there, and
    raises DeployError if it must not.
    """

    def __init__(self, stage: Stage, cloud: GoogleCloud, check: CheckRevision) -> None:
        self.stage = stage
        self.cloud = cloud
        self._check = check
        folders = sorted(path.parent for path in (ROOT / "validators").glob(f"*/{MANIFEST_NAME}"))
        self._validators = [read_manifest(folder) for folder in folders]

    def resources(self) -> Iterator[Resource]:
        """Yield every resource, each after those that it needs."""
        yield Apis(cloud=self.cloud, name=self.cloud.project, services=APIS)
        yield from self._accounts()
        yield self.repository
        yield from (self.files, self.media)
        yield from self.secrets
        yield from self._queues()
        yield from self._validator_jobs()
        yield from self._resource_access()
        yield from self._release()
        yield from self.services
        yield from self._service_access()
        yield from self.traffic
        yield from self._schedules()

    def strays(self) -> Iterator[Resource]:
        """Yield resources that were made for this stage and that it no longer wants."""
        wanted = {resource.address for resource in self.resources()}
        kinds: tuple[Any, ...] = (SchedulerEntry, Job, Secret, Account)
        for kind in kinds:
            for found in kind.existing(self.cloud, self.stage.name):
                if found.address not in wanted:
                    yield found

    # Identities

    def account(self, name: str) -> str:
        """Return the address of an account of this stage."""
        return self.cloud.email(self.stage.named(name))

    def _accounts(self) -> Iterator[Account]:
        purposes = {
            "web": "The public service",
            "worker": "The private service",
            "tasks": "Cloud Tasks, when it calls the worker",
            "scheduler": "Cloud Scheduler, when it calls the worker",
            "capability": "Tokens of validators for one folder each",
        }
        for manifest in self._validators:
            purposes[_validator(manifest)] = f"The validator {manifest.title}"
        for name, purpose in purposes.items():
            yield Account(
                cloud=self.cloud,
                stage=self.stage.name,
                name=self.stage.named(name),
                purpose=purpose,
            )

    @property
    def callers(self) -> list[str]:
        """The accounts that may call the worker, without the prefix of the stage."""
        return ["tasks", "scheduler", *map(_validator, self._validators)]

    # Images and files

    @property
    def repository(self) -> Repository:
        name = self.stage.named("images")
        return Repository(cloud=self.cloud, name=name, labels=self.stage.labels)

    def image(self, name: str, tag: str) -> str:
        """Return the name of an image in the repository of this stage."""
        host = f"{self.cloud.region}-docker.pkg.dev"
        return f"{host}/{self.cloud.project}/{self.repository.name}/{name}:{tag}"

    @property
    def files(self) -> Bucket:
        names = self.stage.buckets
        rules = [{"age": names.run_days, "matchesPrefix": [_RUNS]}] if names.run_days else []
        return self._bucket(names.files or f"{self.cloud.project}-{self.stage.name}-files", *rules)

    @property
    def media(self) -> Bucket:
        """The bucket whose objects everybody may read by name."""
        name = self.stage.buckets.media or f"{self.cloud.project}-{self.stage.name}-media"
        return self._bucket(name, is_public=True)

    def _bucket(self, name: str, *conditions: dict[str, Any], is_public: bool = False) -> Bucket:
        """Return a bucket that deletes noncurrent objects, and those that meet a condition."""
        days = self.stage.buckets.noncurrent_days
        noncurrent = [{"daysSinceNoncurrentTime": days}] if days else []
        return Bucket(
            cloud=self.cloud,
            name=name,
            labels=self.stage.labels,
            lifecycle=[
                {"action": {"type": "Delete"}, "condition": each}
                for each in (*noncurrent, *conditions)
            ],
            is_public=is_public,
        )

    # Secrets

    @cached_property
    def secrets(self) -> list[Secret]:
        """The secrets: those that the operator gives, then those that are generated."""
        given = [self._secret(variable, None) for variable in self.stage.secrets]
        return [*given, *(self._secret(variable, _random) for variable in _GENERATED)]

    def secret(self, name: str) -> Secret:
        """Return a secret by its name or by that of its variable. Raises DeployError."""
        for secret in self.secrets:
            if name in (secret.variable, secret.name):
                return secret
        known = ", ".join(secret.name for secret in self.secrets)
        raise DeployError(f"The stage has no secret {name!r:.60}; it has {known}.")

    def _secret(self, variable: str, make: Callable[[], str] | None) -> Secret:
        return Secret(
            cloud=self.cloud,
            stage=self.stage.name,
            name=self._secret_name(variable),
            variable=variable,
            labels=self.stage.labels,
            generate=make,
        )

    def _secret_name(self, variable: str) -> str:
        return self.stage.named(variable.lower().replace("_", "-"))

    # Queues and schedules

    def _queues(self) -> Iterator[Queue]:
        for name, limits in self.stage.queues:
            full = self.stage.named(name.replace("_", "-"))
            yield Queue(cloud=self.cloud, name=full, **limits.model_dump())

    def _schedules(self) -> Iterator[SchedulerEntry]:
        for each in read_schedules():
            yield SchedulerEntry(
                cloud=self.cloud,
                stage=self.stage.name,
                name=self.stage.named(each["name"]),
                cron=each["cron"],
                url=f"{self.worker_url}/internal/schedules/{each['name']}/",
                account=self.account("scheduler"),
                audience=self.worker_url,
            )

    # Validators

    def _validator_jobs(self) -> Iterator[Job]:
        for manifest in self._validators:
            name = manifest.image.rpartition(":")[0].rpartition("/")[2]
            memory = max(512, manifest.budgets.memory_mb)
            container = RunContainer(
                image=self.image(name, manifest.version),
                account=self.account(_validator(manifest)),
                cpu="2" if memory > 2048 else "1",
                memory=f"{memory}Mi",
                env={"DEPLOYMENT_TARGET": "gcp", "PYTHONUNBUFFERED": "1"},
            )
            yield Job(
                cloud=self.cloud,
                name=self.stage.named(manifest.job),
                labels={
                    **self.stage.labels,
                    "validator": manifest.slug,
                    "version": _label(manifest.version),
                },
                container=container,
                timeout=max(600, manifest.budgets.timeout_seconds),
            )

    # The product: a release, then two services of one image

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

    @cached_property
    def variables(self) -> dict[str, str]:
        """The variables of every process of the product, without `APP_ROLE`."""
        services = [self.stage.named(name) for name in ("web", "worker")]
        tagged = [self.cloud.service_url(name, tag=NEXT) for name in services]
        urls = dict.fromkeys((self.site_url, self.web_url, self.worker_url, *tagged))
        return variables_of(
            {
                "ALLOWED_CALLERS": [self.account(name) for name in self.callers],
                "ALLOWED_HOSTS": [str(urlsplit(url).hostname) for url in urls],
                "CAPABILITY_ACCOUNT": self.account("capability"),
                "CLOUD_TASKS_PROBE_QUEUE": self.stage.named("fmu-probes"),
                "CLOUD_TASKS_QUEUE": self.stage.named("runs"),
                "CLOUD_TASKS_SERVICE_ACCOUNT": self.account("tasks"),
                "GCP_REGION": self.cloud.region,
                "GCS_BUCKET": self.files.name,
                "GOOGLE_CLOUD_PROJECT": self.cloud.project,
                "SCHEDULER_ACCOUNT": self.account("scheduler"),
                "SITE_URL": self.site_url,
                "VALIDATOR_JOB_PREFIX": self.stage.named(""),
                "WORKER_URL": self.worker_url,
                **self.stage.env,
            }
        )

    def _container(self, account: str, size: ServiceSize, *args: str, role: str) -> RunContainer:
        every = (*self.stage.secrets, *_GENERATED)
        return RunContainer(
            image=self.image("validibot", self.stage.image_tag),
            account=self.account(account),
            cpu=size.cpu,
            memory=size.memory,
            args=args,
            env={"APP_ROLE": role, **self.variables},
            secrets={variable: self._secret_name(variable) for variable in every},
        )

    @property
    def _release_labels(self) -> dict[str, str]:
        return {**self.stage.labels, "release": _label(self.stage.image_tag)}

    def _release(self) -> Iterator[Resource]:
        """Yield the jobs that prepare the database, and a run of each."""
        for name, args in (("migrate", ("migrate_checked",)), ("setup", ("setup_all",))):
            job = Job(
                cloud=self.cloud,
                name=self.stage.named(name),
                labels=self._release_labels,
                container=self._container("web", self.stage.web, *args, role="web"),
                timeout=3600,
            )
            yield job
            yield Release(cloud=self.cloud, name=job.name, release=job.labels["release"])

    @cached_property
    def services(self) -> tuple[Service, Service]:
        """The worker and web; a new worker gets traffic first."""
        return (
            self._service("worker", self.stage.worker),
            self._service("web", self.stage.web, http2=True),
        )

    def _service(self, role: str, size: ServiceSize, *, http2: bool = False) -> Service:
        return Service(
            cloud=self.cloud,
            name=self.stage.named(role),
            labels=self._release_labels,
            container=self._container(role, size, role=role),
            concurrency=size.concurrency,
            timeout=size.timeout,
            min_instances=size.min_instances,
            max_instances=size.max_instances,
            http2=http2,
        )

    @property
    def traffic(self) -> list[Traffic]:
        return [
            Traffic(cloud=self.cloud, service=service, check=partial(self._check, role))
            for role, service in zip(("worker", "web"), self.services, strict=True)
        ]

    # Roles

    def _access(self, target: str, on: str, roles: Mapping[str, Sequence[str]]) -> RoleBindings:
        names = {role: [self._member(name) for name in has] for role, has in roles.items()}
        accounts = frozenset(account.name for account in self._accounts())
        return RoleBindings(cloud=self.cloud, target=target, on=on, roles=names, accounts=accounts)

    def _member(self, name: str) -> str:
        return name if name == ALL_USERS else self.stage.named(name)

    def _resource_access(self) -> Iterator[RoleBindings]:
        """Yield the roles on everything but the services."""
        users = ["web", "worker"]
        yield self._access(
            "bucket",
            self.files.name,
            {
                "roles/storage.objectUser": users,
                "roles/storage.objectViewer": ["capability"],
                "roles/storage.objectCreator": ["capability"],
            },
        )
        # The legacy role shows objects by name; `objectViewer` would list them, too.
        reading = {"roles/storage.legacyObjectReader": [ALL_USERS]}
        yield self._access(
            "bucket", self.media.name, {**reading, "roles/storage.objectUser": users}
        )
        for secret in self.secrets:
            yield self._access("secret", secret.name, {"roles/secretmanager.secretAccessor": users})
        for queue in self._queues():
            yield self._access("queue", queue.name, {"roles/cloudtasks.enqueuer": users})
        # The creator of a task with a token of an account must be allowed to act as it.
        yield self._access(
            "account", self.stage.named("tasks"), {"roles/iam.serviceAccountUser": users}
        )
        yield self._access(
            "account",
            self.stage.named("capability"),
            {"roles/iam.serviceAccountTokenCreator": ["worker"]},
        )
        executing = {
            "roles/run.jobsExecutorWithOverrides": ["worker"],
            "roles/run.viewer": ["worker"],
        }
        for job in self._validator_jobs():
            yield self._access("job", job.name, executing)

    def _service_access(self) -> Iterator[RoleBindings]:
        worker, web = self.services
        yield self._access("service", worker.name, {"roles/run.invoker": self.callers})
        yield self._access("service", web.name, {"roles/run.invoker": [ALL_USERS]})


def read_schedules() -> list[dict[str, str]]:
    """Return the product's periodic work: `name` and `cron` of each entry."""
    text = (ROOT / "config" / "schedules.toml").read_text(encoding="utf-8")
    found: list[dict[str, str]] = tomllib.loads(text)["schedules"]
    return found


def _validator(manifest: ValidatorManifest) -> str:
    return f"validator-{manifest.slug}"


def _label(text: str) -> str:
    """Return a version as the value of a label, which has no dots."""
    return text.lower().replace(".", "-")[:63]


def _random() -> str:
    return generator.token_urlsafe(_SECRET_BYTES)
