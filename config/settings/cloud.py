"""Google Cloud, emulated or real: the same wiring, because Google's clients are built plainly."""

from config.env import choice, env, expect, require
from config.settings.base import *

_CHOSEN = choice("EXECUTION_BACKEND", ("cloud_run", "modal"), default="cloud_run")
if _CHOSEN == "modal":
    # Modal's client reads the token itself (https://modal.com/docs/reference/modal.config).
    expect("MODAL_APP", "MODAL_CALLER_ACCOUNT", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET")

# `base` has values for some of these, for a developer's machine only.
require(
    "ALLOWED_CALLERS",
    "ALLOWED_HOSTS",
    "API_KEY_PEPPER",
    "CAPABILITY_ACCOUNT",
    "CLOUD_TASKS_QUEUE",
    "CLOUD_TASKS_SERVICE_ACCOUNT",
    "DATABASE_URL",
    "DJANGO_SECRET_KEY",
    "GCP_REGION",
    "GCS_BUCKET",
    "GOOGLE_CLOUD_PROJECT",
    "SCHEDULER_ACCOUNT",
    "SITE_URL",
    "WORKER_URL",
)

GOOGLE_CLOUD_PROJECT = env.str("GOOGLE_CLOUD_PROJECT")
GCP_REGION = env.str("GCP_REGION")
SCHEDULER_ACCOUNT = env.str("SCHEDULER_ACCOUNT")
DEPLOYED_SECRETS = env.list("DEPLOYED_SECRETS", default=[])
CAPABILITY_ACCOUNT = env.str("CAPABILITY_ACCOUNT")
DATA_ROOT = f"gs://{env.str('GCS_BUCKET')}"
STORAGES["default"] = media_storage(DATA_ROOT, MEDIA_URL)

_QUEUE = env.str("CLOUD_TASKS_QUEUE")
_QUEUES = f"projects/{GOOGLE_CLOUD_PROJECT}/locations/{GCP_REGION}/queues"
TASKS = {
    "default": {
        "BACKEND": "validibot.dispatch.cloud_tasks.CloudTasksBackend",
        "QUEUES": TASK_QUEUES,
        "OPTIONS": {
            "queue": f"{_QUEUES}/{_QUEUE}",
            "queues": {
                "exports": f"{_QUEUES}/{env.str('CLOUD_TASKS_EXPORT_QUEUE', default=_QUEUE)}",
                "fmu-probes": f"{_QUEUES}/{env.str('CLOUD_TASKS_PROBE_QUEUE', default=_QUEUE)}",
                "webhooks": f"{_QUEUES}/{env.str('CLOUD_TASKS_WEBHOOK_QUEUE', default=_QUEUE)}",
            },
            "url": f"{WORKER_URL}/internal/tasks/",
            "service_account": env.str("CLOUD_TASKS_SERVICE_ACCOUNT"),
            "audience": WORKER_URL,
        },
    }
}
for _name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
    env.str(_name, default="")
# Without an account of their own, custom validators would run as that of Google's default.
_CUSTOM_ACCOUNT = env.str("CUSTOM_VALIDATOR_ACCOUNT", default="")
CUSTOM_VALIDATORS = bool(_CUSTOM_ACCOUNT)
_BACKENDS = {
    "cloud_run": {
        "BACKEND": "validibot.runs.backends.cloud_run.CloudRunBackend",
        "OPTIONS": {
            "project": GOOGLE_CLOUD_PROJECT,
            "region": GCP_REGION,
            "job_prefix": env.str("VALIDATOR_JOB_PREFIX", default=""),
            "custom_account": _CUSTOM_ACCOUNT,
            "custom_subnetwork": env.str("CUSTOM_VALIDATOR_SUBNETWORK", default=""),
            "secret_accounts": env.dict("CUSTOM_VALIDATOR_SECRET_ACCOUNTS", default={}),
        },
    },
    "modal": {
        "BACKEND": "validibot.runs.backends.modal.ModalBackend",
        "OPTIONS": {
            "app": env.str("MODAL_APP", default=""),
            "environment": env.str("MODAL_ENVIRONMENT", default=""),
            "caller_account": env.str("MODAL_CALLER_ACCOUNT", default=""),
        },
    },
}
EXECUTION_BACKENDS = {"default": _BACKENDS[_CHOSEN]}
# Cloud Run's front end sets this header itself, and appends the client's address to X-Forwarded-For.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", default=1)
