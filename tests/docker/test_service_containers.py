"""Cloud Run services with containers as instances, tested with Google's client."""

import json
import ssl
import textwrap
from typing import Any

import httpx
import pytest
from google.cloud import run_v2, secretmanager_v1

from devenv.gcp import Cloud
from tests.docker.jobs import ACCOUNT, IMAGE, PLACE, docker_cloud, jobs, network

__all__ = ["docker_cloud", "jobs", "network"]

SERVER = """
    import http.server, json, os, pathlib, urllib.request

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            host = os.environ["GCE_METADATA_HOST"]
            url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/email"
            asked = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
            told = {
                "email": urllib.request.urlopen(asked).read().decode(),
                "port": os.environ["PORT"],
                "secret": pathlib.Path("/secrets/token").read_text(),
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

    http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.mark.usefixtures("jobs")  # it makes this process the admin
def test_service_runs_in_a_container(docker_cloud: Cloud) -> None:
    """It listens on the port of its own, has its identity, and reads a mounted secret."""
    with secretmanager_v1.SecretManagerServiceClient(transport="rest") as manager:
        secret = manager.create_secret(
            parent="projects/validibot-local",
            secret_id="mounted",
            secret=secretmanager_v1.Secret(replication={"automatic": {}}),
        )
        payload = secretmanager_v1.SecretPayload(data=b"s3cret")
        manager.add_secret_version(parent=secret.name, payload=payload)
    container = run_v2.Container(
        image=IMAGE,
        command=["python3", "-uc"],
        args=[textwrap.dedent(SERVER)],
        volume_mounts=[{"name": "v", "mount_path": "/secrets"}],
    )
    volume = {"name": "v", "secret": {"secret": "mounted", "items": [{"path": "token"}]}}
    template = {"containers": [container], "volumes": [volume], "service_account": ACCOUNT}
    with run_v2.ServicesClient(transport="rest") as services:
        service = run_v2.Service(template=template, invoker_iam_disabled=True)
        operation: Any = services.create_service(
            parent=PLACE, service=service, service_id="contained"
        )
        made = operation.result(timeout=300)
        trusted = ssl.create_default_context(cafile=str(docker_cloud.bundle))
        with httpx.Client(proxy=docker_cloud.proxy_url, verify=trusted) as client:
            told = json.loads(client.get(made.uri).text)
        deleted: Any = services.delete_service(name=made.name)
        deleted.result(timeout=300)

    assert told == {"email": ACCOUNT, "port": "8080", "secret": "s3cret"}
