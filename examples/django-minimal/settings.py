"""Settings: the queue of django.tasks is one of Cloud Tasks, here and in production."""

import os

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["localhost", "127.0.0.1", ".run.app"]
INSTALLED_APPS = ["contact"]
ROOT_URLCONF = "contact.urls"
IS_WORKER = os.environ.get("ROLE") == "worker"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}
MAILERS = {
    "default": {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {"host": os.environ["MAIL_HOST"], "port": int(os.environ["MAIL_PORT"])},
    }
}
TASKS = {
    "default": {
        "BACKEND": "validibot.dispatch.cloud_tasks.CloudTasksBackend",
        "OPTIONS": {
            "queue": os.environ["QUEUE"],
            "url": f"{os.environ['WORKER_URL']}/tasks/",
            "audience": os.environ["WORKER_URL"],
            "service_account": os.environ["CALLER"],
        },
    }
}
