"""A `[tunnel]` table as a developer writes it."""

from typing import Any

from devenv.tunnel.config import TunnelConfig, TunnelPath, parse

PROJECT = "my-project"
TASKS = f"tasks@{PROJECT}.iam.gserviceaccount.com"
SCHEDULER = f"scheduler@{PROJECT}.iam.gserviceaccount.com"
STORAGE = f"storage@{PROJECT}.iam.gserviceaccount.com"
VALIDATOR = f"validator@{PROJECT}.iam.gserviceaccount.com"
URL = "https://dev.example.com"
PATHS = (
    TunnelPath(path="/internal/callbacks/", callers="job_accounts", keep="run_id"),
    TunnelPath(path="/internal/capabilities/", callers="job_accounts"),
    TunnelPath(path="/internal/tasks/", callers="tasks_account"),
    TunnelPath(path="/internal/schedules/reconcile/", callers="scheduler_account"),
)
CALLBACKS, CAPABILITIES, TASK_PATH, SWEEP = (one.path for one in PATHS)


def table(**changes: Any) -> dict[str, Any]:
    return {
        "provider": "cloudflared",
        "project": PROJECT,
        "region": "us-west1",
        "queue": "runs",
        "bucket": "my-bucket",
        "tasks_account": TASKS,
        "scheduler_account": SCHEDULER,
        "storage_account": STORAGE,
        "job_accounts": [VALIDATOR],
    } | changes


def ssh(**changes: Any) -> dict[str, Any]:
    options = {"destination": "me@dev.example.com", "remote_port": 8080} | changes
    return table(provider="ssh", url=URL, ssh=options)


def config(**changes: Any) -> TunnelConfig:
    return parse(table(**changes), jobs=["validator-fmu"])
