"""google.logging.v2.ConfigServiceV2: settings of the project, which organisations and folders give.

See https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects/getSettings.
"""

from collections.abc import Iterator
from typing import Any

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.logging.entries import LoggingNames
from devenv.gcp.rpc import HttpRule, Rpc

types = client_types("google.cloud.logging_v2")

_GRPC = "google.logging.v2.ConfigServiceV2"
Settings: Any = types.Settings.pb()
CmekSettings: Any = types.CmekSettings.pb()


class LogSettingsMethods:
    """The methods; a project has the settings of a new one, without a key of its own."""

    def __init__(self, config: CloudConfig, guard: Guard) -> None:
        self._names = LoggingNames(config)
        self._account = f"cmek-p{config.number}@gcp-sa-logging.iam.gserviceaccount.com"
        self._guard = guard

    def rpcs(self) -> Iterator[Rpc]:
        for name, response, handle, rules in (
            ("GetSettings", Settings, self.get, _rules("settings")),
            ("GetCmekSettings", CmekSettings, self.get_cmek, _rules("cmekSettings")),
            # Google has no path of a project for it.
            ("UpdateSettings", Settings, self.update, ()),
        ):
            request = getattr(types, f"{name}Request").pb()
            yield Rpc(f"{_GRPC}/{name}", request, response, handle, rules)

    async def get(self, request: Any, call: ApiCall) -> Any:
        name = self._named(request.name, call, "settings")
        return Settings(name=name, kms_service_account_id=self._account)

    async def get_cmek(self, request: Any, call: ApiCall) -> Any:
        name = self._named(request.name, call, "cmekSettings")
        return CmekSettings(name=name, service_account_id=self._account)

    async def update(self, request: Any, _call: ApiCall) -> Any:
        self._names.project(request.name.removesuffix("/settings"))
        raise InvalidArgument(
            "name names a project; settings can be changed for organizations and folders only."
        )

    def _named(self, text: str, call: ApiCall, collection: str) -> str:
        project = self._names.project(text.removesuffix(f"/{collection}"))
        self._guard.require(call.caller, f"logging.{collection}.get", project)
        return f"{project}/{collection}"


def _rules(collection: str) -> tuple[HttpRule, ...]:
    return (HttpRule("GET", f"/v2/{{name=projects/*/{collection}}}"),)
