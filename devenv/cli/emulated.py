"""What the commands ask of the emulated cloud, as one of its service accounts, by plain HTTP."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from devenv.cli.http import Reply, ask
from devenv.product import Product, identity
from devenv.stack.problems import StackError


@dataclass(frozen=True, slots=True)
class Account:
    """A service account of the stack that runs; `name` is its short name."""

    product: Product
    name: str

    def id_token(self, audience: str) -> str:
        return self._metadata(
            f"identity?{urlencode({'audience': audience, 'format': 'full'})}"
        ).text

    def get(self, host: str, path: str, **query: str) -> Any:
        """Return the JSON of a Google API. Raises StackError."""
        token = (self._metadata("token").json() or {}).get("access_token", "")
        url = f"http://127.0.0.1:{self.product.config.ports.gcp}{path}"
        headers = {"Host": host, "Authorization": f"Bearer {token}"}
        answer = ask(f"{url}?{urlencode(query)}" if query else url, headers=headers)
        if answer.status != 200:
            raise StackError(f"{host}{path} answers {answer.status}: {answer.text[:300]}")
        return answer.json()

    def _metadata(self, what: str) -> Reply:
        host = identity(self.product.config, self.name)["GCE_METADATA_HOST"]
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/{what}"
        return ask(url, headers={"Metadata-Flavor": "Google"})
