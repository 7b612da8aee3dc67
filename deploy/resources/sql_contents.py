"""The database of an instance of Cloud SQL, and its user."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from google.cloud import sqladmin_v1 as sqladmin

from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command
from deploy.resources.secret import Secret
from deploy.resources.sql_operations import finish_running, finish_sql, instances_of

_PASSWORD_OF = "database-user-version"  # annotation of the secret  # noqa: S105


@dataclass(frozen=True, kw_only=True)
class SqlDatabase(Resource):
    """A database of an instance; it goes with the instance."""

    kind: ClassVar[str] = "database"

    cloud: GoogleCloud
    instance: str
    database: str

    @property
    def name(self) -> str:  # type: ignore[override]  # computed here, a field elsewhere
        return f"{self.instance}/{self.database}"

    def desired(self) -> Settings:
        return {"charset": "UTF8"}

    def read(self) -> Settings | None:
        request = sqladmin.SqlDatabasesListRequest(
            project=self.cloud.project, instance=self.instance
        )
        if all(each.name != self.instance for each in instances_of(self.cloud)):
            return None
        items = self.cloud.sql_databases.list(request=request).items
        found = next((each for each in items if each.name == self.database), None)
        return {"charset": found.charset} if found else None

    def create(self) -> None:
        finish_running(self.cloud, self.instance)
        body = sqladmin.Database(name=self.database, charset="UTF8")
        request = sqladmin.SqlDatabasesInsertRequest(
            project=self.cloud.project, instance=self.instance, body=body
        )
        finish_sql(self.cloud, self.cloud.sql_databases.insert(request=request))

    def update(self, current: Settings) -> None:
        raise DeployError(
            f"{self.address} has the charset {current['charset']}; it must be UTF8. If it holds nothing, run "
            f"`gcloud sql databases delete {self.database} --instance={self.instance}`, then `apply` again."
        )

    def delete(self) -> None:
        """Leave the database, which goes with its instance."""

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("sql", "databases", "create", self.database)
        return [command(*words, instance=self.instance)] if action == "create" else []


@dataclass(frozen=True, kw_only=True)
class SqlUser(Resource):
    """The user of an instance with the password of a secret, which holds the URL of the database.

    An annotation of the secret tells which of its versions the password is from.
    """

    kind: ClassVar[str] = "database-user"

    cloud: GoogleCloud
    instance: str
    user: str
    secret: Secret

    @property
    def name(self) -> str:  # type: ignore[override]  # computed here, a field elsewhere
        return f"{self.instance}/{self.user}"

    def desired(self) -> Settings:
        version = self.secret.latest()
        return {"password": f"version {version} of the secret" if version else "of the secret"}

    def read(self) -> Settings | None:
        if all(each.name != self.instance for each in instances_of(self.cloud)):
            return None
        request = sqladmin.SqlUsersListRequest(project=self.cloud.project, instance=self.instance)
        if all(each.name != self.user for each in self.cloud.sql_users.list(request=request).items):
            return None
        version = self.secret.annotation(_PASSWORD_OF)
        return {"password": f"version {version} of the secret" if version else "unknown"}

    def create(self) -> None:
        self._put(self.cloud.sql_users.insert, sqladmin.SqlUsersInsertRequest)

    def update(self, current: Settings) -> None:
        self._put(self.cloud.sql_users.update, sqladmin.SqlUsersUpdateRequest, name=self.user)

    def delete(self) -> None:
        """Leave the user, who goes with the instance."""

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = {"create": ("create",), "update": ("set-password",)}.get(action)
        if words is None:
            return []
        return [
            command(
                "sql", "users", *words, self.user, "--prompt-for-password", instance=self.instance
            )
        ]

    def _put(self, call: Callable[..., Any], kind: Any, **more: str) -> None:
        finish_running(self.cloud, self.instance)
        version = self.secret.latest()
        password = unquote(urlsplit(self.secret.value()).password or "")
        body = sqladmin.User(name=self.user, password=password)
        request = kind(project=self.cloud.project, instance=self.instance, body=body, **more)
        finish_sql(self.cloud, call(request=request))
        self.secret.annotate(_PASSWORD_OF, version)
