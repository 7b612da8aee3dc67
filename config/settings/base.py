"""Settings that every deployment has in common."""

import tempfile
import tomllib
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext

from config.env import BASE_DIR, choice, env
from config.settings.languages import *
from config.settings.media import *
from config.settings.sign_in import *
from validibot.core.health import check_connection

# Generic classes of Django (ModelAdmin[Run]) can then be written at run time too.
django_stubs_ext.monkeypatch()

APP_ROLE = choice("APP_ROLE", ("web", "worker"), default="web")
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("DJANGO_SECRET_KEY", default="")
API_KEY_PEPPER = env.str("API_KEY_PEPPER", default="")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# Apps with rows or tasks: all that the worker needs.
WORKER_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",  # for the figures of reports
    "validibot.core",
    "validibot.tracking",
    "validibot.accounts",
    "validibot.workflows",
    "validibot.submissions",
    "validibot.webhooks",
    "validibot.notifications",
    "validibot.credits",
    "validibot.support",
    "validibot.runs",
    "validibot.dashboards",
    "validibot.dispatch",
    "validibot.worker",
]
# Apps of the public service.
_PUBLIC = [
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "validibot.web",  # before allauth, whose templates it replaces
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    *SIGN_IN_APPS,
    "allauth.usersessions",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "validibot.api",
    "validibot.mcp",
    "validibot.setup",
]
INSTALLED_APPS = WORKER_APPS + (_PUBLIC if APP_ROLE == "web" else [])

ROOT_URLCONF = f"config.urls_{APP_ROLE}"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"

# The worker has no browser for a user: no sessions, no cookies, no messages.
_COMMON = [
    "validibot.core.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "validibot.core.logging.RequestLogMiddleware",
    "validibot.core.limits.ContentEncodingMiddleware",
]
_BROWSER = [
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "validibot.core.limits.NoStoreMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "validibot.accounts.middleware.SignedInMiddleware",
    "validibot.accounts.middleware.ProviderUnavailableMiddleware",
    "validibot.core.problems.UnavailableMiddleware",
]
# After static files and before anything that asks the database; at the worker, last.
MAINTENANCE_MIDDLEWARE = "validibot.core.maintenance.MaintenanceMiddleware"
_SESSIONS = _BROWSER.index("django.contrib.sessions.middleware.SessionMiddleware")
MIDDLEWARE = (
    [*_COMMON, *_BROWSER[:_SESSIONS], MAINTENANCE_MIDDLEWARE, *_BROWSER[_SESSIONS:]]
    if APP_ROLE == "web"
    else [*_COMMON, MAINTENANCE_MIDDLEWARE]
)

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "validibot.web.scope.navigation",
            ]
        },
    }
]

DATABASES = {"default": env.db("DATABASE_URL", default="postgres://validibot@127.0.0.1/validibot")}
# A pool, not persistent connections: an ASGI server runs each request in a thread of its own.
# TLS options of the URL are kept.
DATABASES["default"]["OPTIONS"] = DATABASES["default"].get("OPTIONS", {}) | {
    # PostgreSQL plans a statement of each connection five times, then keeps the plan: half of its
    # work for a run was planning. A pooler between us that forgets statements would need threshold
    # None.
    "server_side_binding": True,
    "prepare_threshold": 5,
    "pool": {
        "min_size": 2,
        "max_size": env.int("DATABASE_POOL", default=20),
        "timeout": 10,
        # A connection that died with its server is thrown away when it is taken from the pool.
        "check": check_connection,
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
CSRF_FAILURE_VIEW = "validibot.core.problems.csrf_failure"
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/app/"

# allauth counts sign-ins in the cache. In the database all instances share the counts; the table is
# made by a migration. Nothing else is cached here.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "core_cache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

# How many proxies of ours append to X-Forwarded-For. 0: the header is the client's claim, and ignored.
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", default=0)

# Root of submissions, attempts and artifacts: gs://bucket or file:///folder (no slash at the end).
DATA_ROOT = env.str("DATA_ROOT", default=(BASE_DIR / "media").as_uri())
MEDIA_URL = media_url()

# Pages load nothing from elsewhere but public media, and run nothing that stands in them.
SECURE_CSP = {
    "default-src": ["'self'"],
    "img-src": ["'self'", "data:", *media_sources(MEDIA_URL)],
    "object-src": ["'none'"],
    "base-uri": ["'self'"],
    "form-action": ["'self'", *SIGN_IN_ORIGINS],
    "frame-ancestors": ["'none'"],
}

FORM_RENDERER = "validibot.web.forms.PageRenderer"

TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))
STORAGES = {
    "default": media_storage(DATA_ROOT, MEDIA_URL),  # public media
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Static files from where they are written, for places where nobody collects them.
WHITENOISE_USE_FINDERS = env.bool("WHITENOISE_USE_FINDERS", default=DEBUG)
WHITENOISE_AUTOREFRESH = DEBUG
if (
    WHITENOISE_USE_FINDERS
):  # in development browsers ask each time, and see an edit at the next look
    WHITENOISE_MAX_AGE = 0

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "validibot.api.auth.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    # Views read bodies themselves (api.bodies); this is what the OpenAPI document declares.
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "validibot.core.problems.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "DEFAULT_GENERATOR_CLASS": "validibot.api.openapi.DeclaredOperations",
    "TITLE": "Validibot API",
    "DESCRIPTION": "Launch validation runs and read their findings.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "validibot.api.pages.name_operations",
    ],
    "ENUM_NAME_OVERRIDES": {"RunStatusEnum": "validibot.runs.states.RunStatus"},
}

# Where this deployment is found: by its users, and by queue and validators (the private worker).
SITE_URL = env.str("SITE_URL", default="http://localhost:8000").rstrip("/")
WORKER_URL = env.str("WORKER_URL", default="http://localhost:8001").rstrip("/")
# The page of a trace, without its id, in whatever shows traces: it is linked on the page of a run.
TRACES_URL = env.str("TRACES_URL", default="")
# Passkeys need TLS, but not on this machine.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = urlsplit(SITE_URL).hostname == "localhost"
# Accounts whose Google ID tokens open the worker's doors; empty where nonces alone authenticate.
ALLOWED_CALLERS = env.list("ALLOWED_CALLERS", default=[])
# The one of them that may ask for a sweep; the queue's stands in TASKS.
SCHEDULER_ACCOUNT = ""
DEPLOYED_SECRETS: list[str] = []
CAPABILITY_ACCOUNT = ""
GOOGLE_CLOUD_PROJECT = ""
# Names of queues as tasks know them; each backend of TASKS has them all.
TASK_QUEUES = ["default", "exports", "fmu-probes", "webhooks"]
# Tasks run in place, unless a deployment has a queue.
TASKS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.tasks.backends.immediate.ImmediateBackend",
        "QUEUES": TASK_QUEUES,
    }
}
# Periodic work: `name`, `cron` (UTC) and `task` of each.
SCHEDULES: list[dict[str, str]] = tomllib.loads(
    (BASE_DIR / "config" / "schedules.toml").read_text(encoding="utf-8")
)["schedules"]
WORKER_AUTH = "validibot.worker.views.google_id_token"
# The key of validators where no cloud proves who they are.
WORKER_API_KEY = ""

VALIDATORS_DIR = BASE_DIR / "validators"

# Limits on what is taken in. Bytes, unless the name says otherwise.
MAX_UPLOAD_BYTES = env.int("MAX_UPLOAD_BYTES", default=100 * 1024 * 1024)
MAX_INLINE_BYTES = 10 * 1024 * 1024
MAX_ENVELOPE_BYTES = 25 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_INLINE_BYTES + 1024 * 1024
FILE_UPLOAD_TEMP_DIR = tempfile.gettempdir()

# Whether webhooks, files of schedules and AI endpoints of organisations may have http:// addresses and
# lead to this machine and private networks.
WEBHOOKS_MAY_BE_LOCAL = env.bool("WEBHOOKS_MAY_BE_LOCAL", default=False)

# The language model of AI reviews, until the admin site has another.
AI_ENDPOINT_URL = env.str("AI_ENDPOINT_URL", default="")
AI_ENDPOINT_MODEL = env.str("AI_ENDPOINT_MODEL", default="")
AI_ENDPOINT_KEY = env.str("AI_ENDPOINT_KEY", default="")

# Whether organisations may register validators of their own, and name images by tag.
CUSTOM_VALIDATORS = env.bool("CUSTOM_VALIDATORS", default=False)
CUSTOM_VALIDATOR_TAGS = env.bool("CUSTOM_VALIDATOR_TAGS", default=False)

# How long a worker may hold a run without a sign of life; then another takes it over.
RUN_LEASE_SECONDS = 15
# How long after its start a run may wait for an outage of storage or of the provider to end.
RUN_DEADLINE_SECONDS = 24 * 60 * 60
# A run that waits longer than this for its queue entry is enqueued again.
RUN_PENDING_SECONDS = 60

# Unfinished runs of one organisation at which no further run is started; 0: no limit. The admin site
# may set another number for an organisation.
LAUNCH_QUOTA = env.int("LAUNCH_QUOTA", default=1000)
# The credits that a step of a limited organisation costs; the admin site may set another price for a
# validator. -1: what the validator's manifest says, else 1, or 10 for a container.
CREDITS_PER_STEP = env.int("CREDITS_PER_STEP", default=-1)
CREDITS_PER_CONTAINER_STEP = env.int("CREDITS_PER_CONTAINER_STEP", default=-1)
# Requests to the API by one user in a minute; polling of runs is not counted.
API_REQUESTS_PER_MINUTE = env.int("API_REQUESTS_PER_MINUTE", default=6000)

# Days after which `manage.py purge` removes each kind; None: never. Results and evidence are kept
# until both have a number: then the whole run goes after the longer of the two times.
RETENTION_DAYS: dict[str, int | None] = {
    "idempotency_keys": env.int("RETENTION_IDEMPOTENCY_KEYS", default=2),
    "pending_mails": 1,  # they hold links that open accounts
    "limits": 0,  # counts of failures, after they expired
    "sessions": env.int("RETENTION_SESSIONS", default=0),  # after they expired
    "session_list": 0,  # addresses and browsers, after their sessions were removed
    "events": env.int("RETENTION_EVENTS", default=365),
    "receipts": env.int("RETENTION_RECEIPTS", default=90),
    "webhook_deliveries": env.int("RETENTION_WEBHOOK_DELIVERIES", default=30),
    "notifications": env.int("RETENTION_NOTIFICATIONS", default=90),
    "tracking_events": env.int("RETENTION_TRACKING_EVENTS", default=400),
    "support_requests": env.int("RETENTION_SUPPORT_REQUESTS", default=365),
    "waitlist": 14,  # addresses that were not confirmed, and those that have an account
    "audit_entries": env.int("RETENTION_AUDIT", default=730),
    "exports": env.int("RETENTION_EXPORTS", default=7),  # files that are made anew when asked for
    "attempts": env.int("RETENTION_ATTEMPTS", default=90),
    "inputs": env.int("RETENTION_INPUTS", default=30),
    "unused_submissions": env.int("RETENTION_UNUSED_SUBMISSIONS", default=1),
    "orphaned_files": 1,  # of attempts and submissions that have no row
    "dead_jobs": env.int("RETENTION_DEAD_JOBS", default=90),
    "results": env.int("RETENTION_RESULTS", default=0) or None,
    "evidence": env.int("RETENTION_EVIDENCE", default=0) or None,
}

# Where organisations may keep their data, by key; the first is that of new ones. Where a region is
# served from is the operator's matter: it is told to people and never changes once there are runs.
DATA_REGIONS: dict[str, str] = env.dict("DATA_REGIONS", default={"site": "Where this site runs"})
# The region that this deployment serves, one of them; empty: all. Addresses of the others by key.
DATA_REGION = env.str("DATA_REGION", default="")
DATA_REGION_SITES: dict[str, str] = env.dict("DATA_REGION_SITES", default={})
DEFAULT_DATA_REGION = DATA_REGION or next(iter(DATA_REGIONS))

DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Validibot <validibot@localhost>")
MAILERS = {
    "default": {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": env.str("EMAIL_HOST", default="127.0.0.1"),
            "port": env.int("EMAIL_PORT", default=1025),
        },
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "validibot.core.logging.JsonFormatter"},
        "logfmt": {"()": "validibot.core.logging.LogfmtFormatter"},
    },
    "handlers": {
        # Standard error: what commands put out stays clean.
        "lines": {
            "class": "logging.StreamHandler",
            "formatter": choice("LOG_FORMAT", ("json", "logfmt"), default="json"),
        }
    },
    "root": {"handlers": ["lines"], "level": "INFO"},
    "loggers": {
        "django.server": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "mcp": {"level": "WARNING"},  # two lines for each message
        # It tells when each job begins and ends; so do our runs.
        "procrastinate": {"level": "WARNING"},
    },
}

# Closed for pages and read-only for programs, whatever `manage.py maintenance` says.
MAINTENANCE = env.bool("MAINTENANCE", default=False)

# The demonstration data that setup_all makes; empty: none.
DEMO_EMAIL = env.str("DEMO_EMAIL", default="")
DEMO_PASSWORD = env.str("DEMO_PASSWORD", default="")
DEMO_API_KEY = env.str("DEMO_API_KEY", default="")
SEED_FILE = env.str("SEED_FILE", default="")
