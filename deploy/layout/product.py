"""Containers of a stage: validators, the release, the two services; and the schedules."""

import tomllib
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from urllib.parse import urlsplit

from deploy.layout.data import StageData
from deploy.layout.names import (
    CUSTOM_ACCOUNT,
    MODAL_ACCOUNT,
    ROOT,
    StageNames,
    label,
    validator_account,
)
from deploy.resource import Resource
from deploy.resources.container import RunContainer
from deploy.resources.domain_mapping import REGIONS, DomainMapping
from deploy.resources.job import Job
from deploy.resources.release import Release
from deploy.resources.schedule import SchedulerEntry
from deploy.resources.service import NEXT, Service
from deploy.resources.traffic import Traffic
from deploy.stage import ServiceSize, variables_of

CheckRevision = Callable[[str, str], None]


class StageProduct:
    """The containers of a stage.

    `check` gets the role of a service and the URL of its new revision before traffic moves there, and
    raises DeployError if it must not.
    """

    def __init__(self, names: StageNames, data: StageData, check: CheckRevision) -> None:
        self._names = names
        self._stage = names.stage
        self._cloud = names.cloud
        self._data = data
        self._check = check

    def validator_jobs(self) -> Iterator[Job]:
        reporting = {name: dsn for name, dsn in self._stage.env.items() if name == "SENTRY_DSN"}
        for manifest in self._names.validators:
            memory = max(512, manifest.budgets.memory_mb)
            container = RunContainer(
                image=self._names.validator_image(manifest),
                account=self._names.account(validator_account(manifest)),
                cpu="2" if memory > 2048 else "1",
                memory=f"{memory}Mi",
                env={
                    "DEPLOYMENT_TARGET": "gcp",
                    "PYTHONUNBUFFERED": "1",
                    "VALIDATOR_VERSION": manifest.version,
                    **reporting,
                },
            )
            yield Job(
                cloud=self._cloud,
                name=self._stage.named(manifest.job),
                labels={
                    **self._stage.labels,
                    "validator": manifest.slug,
                    "version": label(manifest.version),
                },
                container=container,
                timeout=max(600, manifest.budgets.timeout_seconds),
            )

    @cached_property
    def variables(self) -> dict[str, str]:
        """The variables of every process of the product, without `APP_ROLE`."""
        names, cloud = self._names, self._cloud
        services = [self._stage.named(name) for name in ("web", "worker")]
        tagged = [cloud.service_url(name, tag=NEXT) for name in services]
        custom = names.account(CUSTOM_ACCOUNT) if self._stage.custom_validators else ""
        urls = dict.fromkeys((names.site_url, names.web_url, names.worker_url, *tagged))
        return variables_of(
            {
                "ALLOWED_CALLERS": [names.account(name) for name in names.callers],
                "ALLOWED_HOSTS": [str(urlsplit(url).hostname) for url in urls],
                "CAPABILITY_ACCOUNT": names.account("capability"),
                "CLOUD_TASKS_EXPORT_QUEUE": self._stage.named("exports"),
                "CLOUD_TASKS_PROBE_QUEUE": self._stage.named("fmu-probes"),
                "CLOUD_TASKS_QUEUE": self._stage.named("runs"),
                "CLOUD_TASKS_SERVICE_ACCOUNT": names.account("tasks"),
                "CLOUD_TASKS_WEBHOOK_QUEUE": self._stage.named("webhooks"),
                "CUSTOM_VALIDATOR_ACCOUNT": custom,
                **self._custom_variables(),
                "DEPLOYED_SECRETS": [secret.name for secret in self._data.secrets],
                "GCP_REGION": cloud.region,
                "GCS_BUCKET": self._data.files.name,
                "GCS_MEDIA_BUCKET": self._data.media.name,
                "GOOGLE_CLOUD_PROJECT": cloud.project,
                "SCHEDULER_ACCOUNT": names.account("scheduler"),
                "SITE_URL": names.site_url,
                "VALIDATOR_JOB_PREFIX": self._stage.named(""),
                "WORKER_URL": names.worker_url,
                **self._modal_variables(),
                **self._stage.env,
            }
        )

    def _custom_variables(self) -> dict[str, str]:
        """Return what custom validators with secrets or without the internet need."""
        names = self._names
        accounts = (f"{n}={names.account(name)}" for n, name in names.secret_accounts.items())
        found = {
            "CUSTOM_VALIDATOR_SUBNETWORK": self._stage.custom_subnetwork,
            "CUSTOM_VALIDATOR_SECRET_ACCOUNTS": ",".join(accounts),
        }
        return {name: text for name, text in found.items() if text}

    def _modal_variables(self) -> dict[str, str]:
        if self._stage.modal is None:
            return {}
        return {
            "EXECUTION_BACKEND": "modal",
            "MODAL_APP": self._names.modal_app,
            "MODAL_CALLER_ACCOUNT": self._names.account(MODAL_ACCOUNT),
            "MODAL_ENVIRONMENT": self._stage.modal.environment,
        }

    def _container(self, account: str, size: ServiceSize, *args: str, role: str) -> RunContainer:
        instance = self._data.instance
        return RunContainer(
            image=self._names.image("validibot", self._stage.image_tag),
            account=self._names.account(account),
            cpu=size.cpu,
            memory=size.memory,
            args=args,
            env={"APP_ROLE": role, **self.variables},
            secrets={secret.variable: secret.name for secret in self._data.secrets},
            database=instance.connection_name if instance and not instance.network else "",
            network=instance.network if instance else "",
        )

    @property
    def _release_labels(self) -> dict[str, str]:
        return {**self._stage.labels, "release": label(self._stage.image_tag)}

    def release(self) -> Iterator[Resource]:
        """Yield the jobs that prepare the database, and a run of each."""
        for name, args in (("migrate", ("migrate_checked",)), ("setup", ("setup_all",))):
            job = Job(
                cloud=self._cloud,
                name=self._stage.named(name),
                labels=self._release_labels,
                container=self._container("web", self._stage.web, *args, role="web"),
                timeout=3600,
            )
            yield job
            yield Release(cloud=self._cloud, name=job.name, release=job.labels["release"])

    @cached_property
    def services(self) -> tuple[Service, Service]:
        """The worker and web; a new worker gets traffic first."""
        return (
            self._service("worker", self._stage.worker),
            self._service("web", self._stage.web, http2=True),
        )

    def _service(self, role: str, size: ServiceSize, *, http2: bool = False) -> Service:
        return Service(
            cloud=self._cloud,
            name=self._stage.named(role),
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
            Traffic(cloud=self._cloud, service=service, check=partial(self._check, role))
            for role, service in zip(("worker", "web"), self.services, strict=True)
        ]

    @property
    def mapping(self) -> DomainMapping | None:
        """The mapping of the domain to web, where Google offers mappings."""
        stage = self._stage
        if not (stage.domain and stage.map_domain and stage.region in REGIONS):
            return None
        return DomainMapping(
            cloud=self._cloud,
            name=stage.domain,
            service=stage.named("web"),
            labels=stage.labels,
        )

    def schedules(self) -> Iterator[SchedulerEntry]:
        worker = self._names.worker_url
        for each in read_schedules():
            yield SchedulerEntry(
                cloud=self._cloud,
                stage=self._stage.name,
                name=self._stage.named(each["name"]),
                cron=each["cron"],
                url=f"{worker}/internal/schedules/{each['name']}/",
                account=self._names.account("scheduler"),
                audience=worker,
            )


def read_schedules() -> list[dict[str, str]]:
    """Return the product's periodic work: `name` and `cron` of each entry."""
    text = (ROOT / "config" / "schedules.toml").read_text(encoding="utf-8")
    found: list[dict[str, str]] = tomllib.loads(text)["schedules"]
    return found
