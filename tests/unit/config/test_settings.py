"""The settings of a deployment: what they need, and what they then are."""

import json
import os
import subprocess
import sys
import tomllib

import pytest
from django.contrib import admin
from django.contrib.admin.checks import check_admin_app
from django.core.management import get_commands

from config.settings.base import WORKER_APPS
from tests import forked

TOLD = {
    "DJANGO_SETTINGS_MODULE": "config.settings.production",
    "DJANGO_SECRET_KEY": "s3cr3t-k3y-0f-4-t3st-th4t-1s-l0ng-3n0ugh-f0r-dj4ng0!",
    "API_KEY_PEPPER": "pepper",
    "DATABASE_URL": "postgres://validibot:secret@10.0.0.3/validibot",
    "SITE_URL": "https://validibot.example",
    "WORKER_URL": "https://worker.example.run.app",
    "ALLOWED_HOSTS": "validibot.example",
    "ALLOWED_CALLERS": "tasks@p.iam.gserviceaccount.com",
    "CAPABILITY_ACCOUNT": "capability@p.iam.gserviceaccount.com",
    "SCHEDULER_ACCOUNT": "scheduler@p.iam.gserviceaccount.com",
    "GOOGLE_CLOUD_PROJECT": "p",
    "GCP_REGION": "us-west1",
    "GCS_BUCKET": "b",
    "CLOUD_TASKS_QUEUE": "runs",
    "CLOUD_TASKS_SERVICE_ACCOUNT": "tasks@p.iam.gserviceaccount.com",
    "POSTMARK_SERVER_TOKEN": "token",
}
NAMES = ["SECRET_KEY", "DEBUG", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "DATA_ROOT"]


def python(
    *arguments: str, told: dict[str, str], role: str = "web"
) -> subprocess.CompletedProcess[str]:
    return forked.python(*arguments, environ={"PATH": os.defpath, "APP_ROLE": role} | told)


@pytest.mark.parametrize("role", ["web", "worker"])
def test_complete_production_settings_pass_deployment_checks(role: str) -> None:
    done = python("manage.py", "check", "--deploy", "--fail-level", "WARNING", told=TOLD, role=role)

    assert done.returncode == 0, done.stderr


def test_production_without_variables_reports_all_missing_ones() -> None:
    told = {"DJANGO_SETTINGS_MODULE": "config.settings.production"}
    done = python("-c", "from django.conf import settings; settings.DEBUG", told=told)

    said = done.stderr.splitlines()[-1]
    needed = set(TOLD) - {"DJANGO_SETTINGS_MODULE", "POSTMARK_SERVER_TOKEN"} | {"EMAIL_HOST"}
    assert needed == {word for name in said.split() if (word := name.strip(".,")) in needed}


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"API_KEY_PEPPER": ""}, "API_KEY_PEPPER"),
        ({"POSTMARK_SERVER_TOKEN": ""}, "EMAIL_HOST"),
        ({"EXECUTION_BACKEND": "modal"}, "MODAL_TOKEN_SECRET"),
        ({"POSTMARK_SERVER_TOKEN": "", "MAILGUN_API_KEY": "k"}, "MAILGUN_SENDER_DOMAIN"),
    ],
)
def test_empty_secret_is_reported_as_missing(told: dict[str, str], name: str) -> None:
    done = python("-c", "import config.settings.production", told=TOLD | told)

    assert (done.returncode, name in done.stderr.splitlines()[-1]) == (1, True)


def test_production_is_never_in_debug_mode() -> None:
    shown = f"json.dumps([getattr(settings, name) for name in {NAMES}])"
    code = f"import json; from django.conf import settings; print({shown})"
    done = python("-c", code, told=TOLD | {"DEBUG": "1"})

    assert json.loads(done.stdout) == [TOLD["DJANGO_SECRET_KEY"], False, True, True, "gs://b"]


@pytest.mark.parametrize(("told", "age"), [({"WHITENOISE_USE_FINDERS": "1"}, "0"), ({}, "None")])
def test_browsers_keep_no_style_sheet_in_development(told: dict[str, str], age: str) -> None:
    script = "from django.conf import settings as s; print(getattr(s, 'WHITENOISE_MAX_AGE', None))"

    assert python("-c", script, told=TOLD | told).stdout.strip() == age


def test_local_settings_need_only_a_database() -> None:
    told = {"DJANGO_SETTINGS_MODULE": "config.settings.local", "DATABASE_URL": TOLD["DATABASE_URL"]}
    done = python("manage.py", "check", told=told)

    assert done.returncode == 0, done.stderr


HOST = {
    "DJANGO_SETTINGS_MODULE": "config.settings.host",
    "DJANGO_SECRET_KEY": TOLD["DJANGO_SECRET_KEY"],
    "API_KEY_PEPPER": "pepper",
    "DATABASE_URL": TOLD["DATABASE_URL"],
    "DATA_ROOT": "file:///srv/validibot",
    "SITE_URL": TOLD["SITE_URL"],
    "ALLOWED_HOSTS": TOLD["ALLOWED_HOSTS"],
    "DEFAULT_FROM_EMAIL": "runs@validibot.example",
}
SUBPROCESS = {"EXECUTION_BACKEND": "subprocess", "ALLOW_SUBPROCESS": "1"}
SMTP = {"EMAIL_HOST": "smtp.example"}


@pytest.mark.parametrize("role", ["web", "worker"])
def test_complete_host_settings_pass_deployment_checks(role: str) -> None:
    done = python(
        "manage.py",
        "check",
        "--deploy",
        "--fail-level",
        "WARNING",
        told=HOST | SMTP | SUBPROCESS,
        role=role,
    )

    assert done.returncode == 0, done.stderr


def test_host_without_settings_lists_all_missing_ones() -> None:
    done = python("-c", "import config.settings.host", told={})

    said = done.stderr.splitlines()[-1]
    needed = set(HOST) - {"DJANGO_SETTINGS_MODULE"}
    assert needed == {name.strip(".,") for name in said.split() if name.strip(".,") in HOST}


def test_unknown_queue_is_refused() -> None:
    told = HOST | {"DJANGO_SETTINGS_MODULE": "config.settings.local", "TASK_QUEUE": "redis"}
    done = python("manage.py", "check", told=told)

    assert "TASK_QUEUE is 'redis'; it must be one of immediate, database." in done.stderr


def host(expression: str, **told: str) -> str:
    """Return what an expression is under the settings of a host that sends its mail by SMTP."""
    code = f"from django.conf import settings as s; import json; print(json.dumps({expression}))"
    done = python("-c", code, told=HOST | SMTP | told)
    return done.stdout.strip() or done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"EXECUTION_BACKEND": "subprocess"}, "Set ALLOW_SUBPROCESS=1 if you would trust each"),
        ({"CONTAINER_NETWORK": "callback"}, "variable(s) WORKER_API_KEY."),
        ({"EMAIL_HOST": ""}, "variable(s) EMAIL_HOST."),
        ({"DATABASE_SSLMODE": "always"}, "it must be one of disable, allow, prefer, require"),
        ({"LOG_FORMAT": "xml"}, "it must be one of json, logfmt."),
        ({"MEDIA_URL": "https://cdn.example.org"}, "begin with https:// and end with a slash."),
    ],
)
def test_invalid_host_setting_is_refused_by_name(told: dict[str, str], said: str) -> None:
    assert said in host("s.DEBUG", **told)


def test_host_database_follows_url_and_platform() -> None:
    mode = 's.DATABASES["default"]["OPTIONS"]["sslmode"]'

    assert host(mode) == '"prefer"'
    assert host(mode, DATABASE_SSLMODE="require") == '"require"'
    url = f"{TOLD['DATABASE_URL']}?sslmode=verify-full"
    assert host(mode, DATABASE_URL=url, DATABASE_SSLMODE="require") == '"verify-full"'


@pytest.mark.parametrize(
    ("told", "place", "images"),
    [
        ({}, {"location": "/srv/validibot/public", "base_url": "/media/"}, []),
        ({"DATA_ROOT": "gs://b/x"}, {"bucket_name": "b", "location": "x/public"}, []),
        ({"GCS_MEDIA_BUCKET": "m"}, {"bucket_name": "m"}, ["https://storage.googleapis.com/m/"]),
    ],
    ids=["folder", "private bucket", "public bucket"],
)
def test_public_media_have_a_place_and_only_it_is_allowed(
    told: dict[str, str], place: dict[str, str], images: list[str]
) -> None:
    options, policy = json.loads(
        host('[s.STORAGES["default"]["OPTIONS"], s.SECURE_CSP["img-src"]]', **told)
    )

    assert place.items() <= options.items()
    assert policy == ["'self'", "data:", *images]


def test_host_sends_mail_by_smtp() -> None:
    told = {"EMAIL_USER": "u", "EMAIL_PASSWORD": "p", "EMAIL_SECURITY": "tls", "EMAIL_PORT": "465"}
    smtp = json.loads(host('s.MAILERS["default"]["OPTIONS"]', **told))

    assert (smtp["host"], smtp["port"], smtp["use_ssl"]) == ("smtp.example", 465, True)


def test_ses_without_boto3_names_the_extra() -> None:
    code = "import sys; sys.modules['boto3'] = None; import config.settings.host"
    done = python("-c", code, told=HOST | SUBPROCESS | {"AMAZON_SES_REGION": "eu-central-1"})

    assert "make image EXTRA=ses" in done.stderr.splitlines()[-1]


def test_containers_of_a_host_get_the_key_only_where_they_may_call() -> None:
    options = 's.EXECUTION_BACKENDS["default"]["OPTIONS"]'
    told = {"CONTAINER_NETWORK": "callback", "WORKER_API_KEY": "k", "WORKER_URL": "http://h:8000"}

    assert json.loads(host(options, WORKER_API_KEY="k"))["environ"] == {}
    assert json.loads(host(options, **told))["environ"] == {"WORKER_API_KEY": "k"}
    assert host("s.SECURE_REDIRECT_EXEMPT", **told) == '["^internal/callbacks/$"]'
    assert host("[s.SECURE_REDIRECT_EXEMPT, s.WORKER_URL]") == f'[[], "{TOLD["SITE_URL"]}"]'


def test_errors_are_reported_where_a_dsn_is_set() -> None:
    code = "import config.settings.{}, sentry_sdk; print(sentry_sdk.get_client().options['{}'])"
    dsn = {"SENTRY_DSN": "https://key@sentry.example/7"}

    done = python("-c", code.format("production", "include_local_variables"), told=TOLD | dsn)
    assert done.stdout.strip() == "False", done.stderr
    bad = python("-c", code.format("production", "dsn"), told=TOLD | {"SENTRY_DSN": "x"})
    assert "SENTRY_DSN is no DSN" in bad.stderr.splitlines()[-1]
    backend = json.loads(host('s.EXECUTION_BACKENDS["default"]["OPTIONS"]', **dsn))
    assert backend["environ"] == {}  # its container reaches nothing


@pytest.mark.parametrize("role", ["web", "worker"])
def test_production_installs_maintenance_middleware(role: str) -> None:
    code = (
        "from django.conf import settings;"
        "print('validibot.core.maintenance.MaintenanceMiddleware' in settings.MIDDLEWARE)"
    )

    assert python("-c", code, told=TOLD | {"APP_ROLE": role}).stdout.strip() == "True"


@pytest.mark.parametrize(
    ("told", "queue"),
    [
        ({}, "runs"),
        ({"CLOUD_TASKS_PROBE_QUEUE": "probes"}, "probes"),
        ({"CLOUD_TASKS_WEBHOOK_QUEUE": "hooks"}, "hooks"),
    ],
)
def test_some_tasks_have_a_queue_of_their_own_if_there_is_one(
    told: dict[str, str], queue: str
) -> None:
    code = "from django.conf import settings; print(settings.TASKS['default']['OPTIONS']['queues'])"

    done = python("-c", code, told=TOLD | told)

    assert f"'projects/p/locations/us-west1/queues/{queue}'" in done.stdout


@pytest.mark.parametrize(("value", "expected"), [("", "False"), ("1", "True")])
def test_hsts_for_subdomains_is_a_choice(value: str, expected: str) -> None:
    code = "from django.conf import settings; print(settings.SECURE_HSTS_INCLUDE_SUBDOMAINS)"
    told = TOLD | ({"HSTS_INCLUDE_SUBDOMAINS": value} if value else {})

    assert python("-c", code, told=told).stdout.strip() == expected


@pytest.mark.parametrize(
    ("role", "entry"), [("web", "config.asgi, config.urls_web"), ("worker", "config.wsgi")]
)
def test_service_starts_without_modules_that_only_requests_need(role: str, entry: str) -> None:
    heavy = ["google", "grpc", "drf_spectacular.openapi", "jinja2", "lxml", "jsonschema"]
    heavy += ["django.test", "PIL.Image"]
    script = (
        f"import json, sys, {entry}; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={"PATH": os.defpath, "APP_ROLE": role} | TOLD,
        cwd=forked.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert json.loads(done.stdout or "null") == [], done.stderr


_OIDC = {
    "OIDC_SERVER_URL": "https://id.example.org/realms/lab/",
    "OIDC_CLIENT_ID": "validibot",
    "OIDC_CLIENT_SECRET": "secret",
}


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"GOOGLE_OAUTH_CLIENT_ID": "id"}, "Set GOOGLE_OAUTH_CLIENT_SECRET, too"),
        ({"GITHUB_OAUTH_CLIENT_SECRET": "secret"}, "Set GITHUB_OAUTH_CLIENT_ID, too"),
        ({**_OIDC, "OIDC_SERVER_URL": ""}, "OIDC_SERVER_URL, OIDC_CLIENT_ID and"),
        ({"OIDC_SERVER_URL": "https://id.example.org"}, "OIDC_SERVER_URL, OIDC_CLIENT_ID and"),
        ({**_OIDC, "OIDC_SERVER_URL": "http://id.example.org"}, "must be an https:// address"),
    ],
)
def test_incomplete_sign_in_provider_is_refused(told: dict[str, str], named: str) -> None:
    done = python("-c", "import config.settings.sign_in", told=told)

    assert (done.returncode, named in done.stderr.splitlines()[-1]) == (1, True)


def test_sign_in_providers_are_those_with_a_client() -> None:
    google = {"GOOGLE_OAUTH_CLIENT_ID": "id", "GOOGLE_OAUTH_CLIENT_SECRET": "secret"}
    shown = "[[*s.SOCIALACCOUNT_PROVIDERS], s.SIGN_IN_ORIGINS, len(s.SIGN_IN_APPS)]"
    code = f"import json; from config.settings import sign_in as s; print(json.dumps({shown}))"

    none, both = (python("-c", code, told=told) for told in ({}, {**google, **_OIDC}))

    assert json.loads(none.stdout) == [[], [], 0]
    origins = ["https://accounts.google.com", "https://id.example.org"]
    assert json.loads(both.stdout) == [["google", "openid_connect"], origins, 2]


def test_commands_of_worker_services_are_in_apps_of_worker() -> None:
    stack = tomllib.loads((forked.ROOT / "devenv.toml").read_text())
    services = [
        stack["services"],
        *(each.get("services", {}) for each in stack["profiles"].values()),
    ]
    commands = {
        service["command"][2]: get_commands()[service["command"][2]]
        for group in services
        for service in group.values()
        if isinstance(service, dict)
        and service.get("env", {}).get("APP_ROLE") == "worker"
        and "manage.py" in service.get("command", [])
    }

    assert commands.keys() == {"clock", "queue_worker"}
    with_database_queue = {*WORKER_APPS, "validibot.dispatch.database"}
    assert set(commands.values()) <= with_database_queue


def test_admin_site_passes_its_checks() -> None:
    """Its classes are registered with the URLs, which may be after `manage.py check` looked at them."""
    admin.autodiscover()

    assert check_admin_app(None) == []
