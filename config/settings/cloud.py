"""Google Cloud, emulated or real: the same wiring, because Google's clients are built plainly."""

from config.env import env
from config.settings.base import *

GOOGLE_CLOUD_PROJECT = env.str("GOOGLE_CLOUD_PROJECT")
GCP_REGION = env.str("GCP_REGION")
DATA_ROOT = f"gs://{env.str('GCS_BUCKET')}"

TASKS = {
    "default": {
        "BACKEND": "validibot.dispatch.cloud_tasks.CloudTasksBackend",
        "OPTIONS": {
            "queue": (
                f"projects/{GOOGLE_CLOUD_PROJECT}/locations/{GCP_REGION}"
                f"/queues/{env.str('CLOUD_TASKS_QUEUE')}"
            ),
            "url": f"{WORKER_URL}/internal/tasks/",
            "service_account": env.str("CLOUD_TASKS_SERVICE_ACCOUNT"),
            "audience": WORKER_URL,
        },
    }
}
EXECUTION_BACKENDS = {
    "default": {
        "BACKEND": "validibot.runs.backends.cloud_run.CloudRunBackend",
        "OPTIONS": {"project": GOOGLE_CLOUD_PROJECT, "region": GCP_REGION},
    }
}
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
