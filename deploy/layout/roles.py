"""The accounts of a stage, and what each of them may do on which resource."""

from collections.abc import Iterator, Mapping, Sequence

from deploy.layout.data import StageData
from deploy.layout.names import CUSTOM_ACCOUNT, MODAL_ACCOUNT, StageNames, validator_account
from deploy.layout.product import StageProduct
from deploy.resource import Resource
from deploy.resources.access import ALL_USERS, RoleBindings
from deploy.resources.account import Account
from deploy.resources.custom_role import CustomRole
from deploy.resources.project_role import ConditionalRole

_INSTANCE = "sqladmin.googleapis.com/Instance"
_USERS = ("web", "worker")  # the accounts of the product
# The worker makes the jobs of custom validators, starts them and follows their executions.
_JOBS = (
    *("run.jobs.create", "run.jobs.get", "run.jobs.update", "run.jobs.list", "run.jobs.delete"),
    *("run.jobs.run", "run.jobs.runWithOverrides"),
    *("run.executions.get", "run.executions.list", "run.executions.cancel", "run.operations.get"),
)
# It is always true: a binding with a condition of its own can be told from those of others.
_ALWAYS = 'request.time > timestamp("2000-01-01T00:00:00Z")'


class StageRoles:
    """The accounts and their roles, each on a single resource."""

    def __init__(self, names: StageNames, data: StageData, product: StageProduct) -> None:
        self._names = names
        self._stage = names.stage
        self._data = data
        self._product = product

    def accounts(self) -> Iterator[Account]:
        purposes = {
            "web": "The public service",
            "worker": "The private service",
            "tasks": "Cloud Tasks, when it calls the worker",
            "scheduler": "Cloud Scheduler, when it calls the worker",
            "capability": "Tokens of validators for one folder each",
        }
        for manifest in self._names.validators:
            purposes[validator_account(manifest)] = f"The validator {manifest.title}"
        if self._stage.custom_validators:
            purposes[CUSTOM_ACCOUNT] = "Validators of organisations"
        for number, name in self._names.secret_accounts.items():
            purposes[name] = f"Validators of organisation {number} that have secrets"
        if self._stage.modal:
            purposes[MODAL_ACCOUNT] = "Validators at Modal, when they call the worker"
        for name, purpose in purposes.items():
            yield Account(
                cloud=self._names.cloud,
                stage=self._stage.name,
                name=self._stage.named(name),
                purpose=purpose,
            )

    def on_resources(self) -> Iterator[RoleBindings]:
        """Yield the roles on everything but the services."""
        yield self._access(
            "bucket",
            self._data.files.name,
            {
                "roles/storage.objectUser": _USERS,
                "roles/storage.objectViewer": ["capability"],
                "roles/storage.objectCreator": ["capability"],
            },
        )
        # The legacy role shows objects by name; `objectViewer` would list them, too. Tasks write.
        reading = {"roles/storage.legacyObjectReader": [ALL_USERS]}
        yield self._access(
            "bucket", self._data.media.name, {**reading, "roles/storage.objectUser": ["worker"]}
        )
        for secret in self._data.secrets:
            reading = {"roles/secretmanager.secretAccessor": [*_USERS]}
            yield self._access("secret", secret.name, reading)
        for queue in self._data.queues():
            yield self._access("queue", queue.name, {"roles/cloudtasks.enqueuer": _USERS})
        # The creator of a task with a token of an account must be allowed to act as it.
        yield self._access(
            "account", self._stage.named("tasks"), {"roles/iam.serviceAccountUser": _USERS}
        )
        yield self._access(
            "account",
            self._stage.named("capability"),
            {"roles/iam.serviceAccountTokenCreator": ["worker"]},
        )
        if self._stage.modal:
            yield self._access(
                "account",
                self._stage.named(MODAL_ACCOUNT),
                {"roles/iam.serviceAccountOpenIdTokenCreator": ["worker"]},
            )
        executing = {
            "roles/run.jobsExecutorWithOverrides": ["worker"],
            "roles/run.viewer": ["worker"],
        }
        if self._stage.custom_validators or self._stage.modal:
            executing = {}  # the role for custom validators is in the project; Modal needs none
        for job in self._product.validator_jobs():
            yield self._access("job", job.name, executing)

    def on_database(self) -> Iterator[ConditionalRole]:
        """Yield the role to connect to the instance, which has no policy of its own.

        At a private address the instance asks for the password only.
        """
        if (instance := self._data.instance) and not instance.network:
            name = f"projects/{self._names.cloud.project}/instances/{instance.name}"
            yield ConditionalRole(
                cloud=self._names.cloud,
                stage=self._stage.name,
                name=self._stage.named("database"),
                role="roles/cloudsql.client",
                accounts=[self._stage.named(user) for user in _USERS],
                condition=f'resource.name == "{name}" && resource.type == "{_INSTANCE}"',
            )

    def for_custom_validators(self) -> Iterator[Resource]:
        """Yield the roles for validators of organisations, whose jobs are made while the product runs.

        They are in the project: the jobs do not exist yet, and creating one is a right on the project.
        """
        if not self._stage.custom_validators:
            return
        cloud, stage = self._names.cloud, self._stage.name
        role = CustomRole(
            cloud=cloud,
            stage=stage,
            name=f"{stage}_validatorJobs",
            title=f"Jobs of validators of {stage}",
            permissions=_JOBS,
        )
        yield role
        yield ConditionalRole(
            cloud=cloud,
            stage=stage,
            name=self._stage.named("validator-jobs"),
            role=role.full,
            accounts=[self._stage.named("worker")],
            condition=_ALWAYS,
        )
        # The maker of a job must be allowed to act as its account.
        acting = {"roles/iam.serviceAccountUser": ["worker"]}
        for name in (CUSTOM_ACCOUNT, *self._names.secret_accounts.values()):
            yield self._access("account", self._stage.named(name), acting)
        for number, name in self._names.secret_accounts.items():
            reading = {"roles/secretmanager.secretAccessor": [name]}
            for secret in self._data.custom_secrets(number):
                yield self._access("secret", secret.name, reading)

    def on_services(self) -> Iterator[RoleBindings]:
        worker, web = self._product.services
        yield self._access("service", worker.name, {"roles/run.invoker": self._names.callers})
        yield self._access("service", web.name, {"roles/run.invoker": [ALL_USERS]})

    def _access(self, target: str, on: str, roles: Mapping[str, Sequence[str]]) -> RoleBindings:
        return RoleBindings(
            cloud=self._names.cloud,
            target=target,
            on=on,
            roles={role: [self._member(name) for name in has] for role, has in roles.items()},
            accounts=frozenset(account.name for account in self.accounts()),
        )

    def _member(self, name: str) -> str:
        return name if name == ALL_USERS else self._stage.named(name)
