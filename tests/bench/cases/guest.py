"""An account without roles: GUEST_METADATA is where its tokens are, where there are accounts."""

import os
from typing import Any

import requests
from google.auth.credentials import AnonymousCredentials
from google.oauth2.credentials import Credentials

ACCOUNT = "guest"
GUEST = f"serviceAccount:{ACCOUNT}@test-project.iam.gserviceaccount.com"
VARIABLE = "GUEST_METADATA"
_TOKEN = "computeMetadata/v1/instance/service-accounts/default/token"


def credentials() -> Any:
    """Return the credentials of the guest, those of nobody where everybody is the same."""
    host = os.environ.get(VARIABLE, "")  # noqa: TID251 - a program of its own
    if not host:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    session = requests.Session()
    session.trust_env = False
    headers = {"Metadata-Flavor": "Google"}
    answer = session.get(f"http://{host}/{_TOKEN}", headers=headers, timeout=10)
    return Credentials(answer.json()["access_token"])  # type: ignore[no-untyped-call]
