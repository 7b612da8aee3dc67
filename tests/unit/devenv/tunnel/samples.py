"""A `[tunnel]` table as a developer writes it."""

from typing import Any

from devenv.tunnel.config import TunnelConfig, parse

PROJECT = "my-project"
TASKS = f"tasks@{PROJECT}.iam.gserviceaccount.com"
SCHEDULER = f"scheduler@{PROJECT}.iam.gserviceaccount.com"
CAPABILITY = f"capability@{PROJECT}.iam.gserviceaccount.com"
VALIDATOR = f"validator@{PROJECT}.iam.gserviceaccount.com"
URL = "https://dev.example.com"


def table(**changes: Any) -> dict[str, Any]:
    return {
        "provider": "cloudflared",
        "project": PROJECT,
        "region": "us-west1",
        "queue": "runs",
        "bucket": "my-bucket",
        "tasks_account": TASKS,
        "scheduler_account": SCHEDULER,
        "capability_account": CAPABILITY,
        "validator_accounts": [VALIDATOR],
    } | changes


def ssh(**changes: Any) -> dict[str, Any]:
    options = {"destination": "me@dev.example.com", "remote_port": 8080} | changes
    return table(provider="ssh", url=URL, ssh=options)


def config(**changes: Any) -> TunnelConfig:
    return parse(table(**changes), jobs=["validator-fmu"])
