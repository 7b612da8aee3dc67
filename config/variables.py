"""The sheet of variables: what a settings module reads, and what for.

    python -m config.variables host
    python -m config.variables host --write docs/modes/host.md

Name, type and default are noted while the settings read the variable, so they cannot be wrong. Nothing
needs to be set for it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from config.env import BASE_DIR, Variable, env

BEGIN = "<!-- variables of {name}: written by `python -m config.variables {name} --write` -->"
END = "<!-- end of variables -->"
MEANINGS = {
    "AI_ENDPOINT_KEY": "API key of that endpoint.",
    "AI_ENDPOINT_MODEL": "The model of that endpoint.",
    "AI_ENDPOINT_URL": "An endpoint for [AI review](../ai-review.md) that speaks OpenAI's protocol, until the admin"
    " site has another.",
    "ALLOWED_CALLERS": "Google accounts whose ID tokens open the worker's doors; not used on a host.",
    "ALLOWED_HOSTS": "Names by which this site may be asked for: `runs.example.org`, `.herokuapp.com`.",
    "ALLOW_SUBPROCESS": "The permission that `EXECUTION_BACKEND=subprocess` needs: models that people"
    " send run as the user of the worker.",
    "AMAZON_SES_REGION": "Sends mail through the API of Amazon SES in this region instead of SMTP; needs the"
    " extra `ses`, see [mail](../production.md#mail).",
    "API_KEY_PEPPER": "Secret that makes the stored digests of API keys and of links. Changing it ends all API keys,"
    " invitations, shared links and second factors with codes, and gives every webhook another secret.",
    "API_REQUESTS_PER_MINUTE": "Requests to the API by one user in a minute, over which it answers 429;"
    " 0: no limit.",
    "APP_ROLE": "What this process is; the Procfile says it.",
    "CONTAINER_NETWORK": "What containers reach: nothing; only this host, to call back; or everything.",
    "CSRF_TRUSTED_ORIGINS": "Further origins from which forms may be sent: `https://www.example.org`.",
    "CREDITS_PER_CONTAINER_STEP": "Credits that a step in a container costs a limited organisation; -1: those of its manifest, else 10.",
    "CREDITS_PER_STEP": "Credits that a step inside the worker costs a limited organisation; -1: those of its manifest, else 1.",
    "CUSTOM_VALIDATORS": "Whether organisations may register [images of their own](../custom-validators.md).",
    "CUSTOM_VALIDATOR_TAGS": "Whether their images may be named by tag; for development.",
    "DATABASE_POOL": "The most connections to the database that a process takes.",
    "DATABASE_SSLMODE": "TLS to the database, as libpq means it, unless the URL says `?sslmode=`.",
    "DATABASE_URL": "`postgres://user:password@host:5432/name`.",
    "DATA_REGION": "The [region](../regions.md) whose organisations this deployment serves; empty: all of"
    " `DATA_REGIONS`.",
    "DATA_REGION_SITES": "Addresses of the deployments of other regions: `eu=https://eu.example.org`.",
    "DATA_REGIONS": "Regions in which organisations may keep their data: `eu=European Union,us=United"
    " States`; the first is that of new ones.",
    "DATA_ROOT": "Where files are kept: `file:///srv/validibot`, or `gs://bucket`.",
    "DEBUG": "For development; a host is never in debug mode.",
    "DEFAULT_FROM_EMAIL": "The sender of mails.",
    "DEMO_API_KEY": "API key of the demonstration's user, `vbk_1_…`.",
    "DEMO_EMAIL": "Makes a demonstration with this user when a release is set up.",
    "DEMO_PASSWORD": "Password of that user.",
    "DEPLOYED_SECRETS": "Names of the secrets that this deployment reads; `deploy verify` asks for each.",
    "DJANGO_SECRET_KEY": "Secret that signs sessions, links and nonces. Changing it ends them.",
    "EMAIL_HOST": "SMTP server; needed without `POSTMARK_SERVER_TOKEN`, `MAILGUN_API_KEY` or"
    " `AMAZON_SES_REGION`.",
    "EMAIL_PASSWORD": "Password for the SMTP server.",
    "EMAIL_PORT": "Port of the SMTP server.",
    "EMAIL_SECURITY": "TLS to the SMTP server.",
    "EMAIL_USER": "User name for the SMTP server; none: no login.",
    "EXECUTION_BACKEND": "How validators run: on a host in containers or as child processes, on Google Cloud as"
    " Cloud Run jobs or at [Modal](../modes/modal.md).",
    "GOOGLE_APPLICATION_CREDENTIALS": "File with the key of a Google account, for `gs://` outside Google"
    " Cloud; validators in child processes get its name, too.",
    "GCS_MEDIA_BUCKET": "Bucket of public media such as featured images, whose objects everybody may read;"
    " without it they are below `public/` in the place of all files, and `web` serves them.",
    "GITHUB_OAUTH_CLIENT_ID": "Offers sign-in with GitHub; see [sign-in](../production.md#sign-in).",
    "GITHUB_OAUTH_CLIENT_SECRET": "Secret of that client.",
    "GOOGLE_OAUTH_CLIENT_ID": "Offers sign-in with Google.",
    "GOOGLE_OAUTH_CLIENT_SECRET": "Secret of that client.",
    "HSTS_INCLUDE_SUBDOMAINS": "Whether browsers must use TLS for every name below this one, too.",
    "HSTS_PRELOAD": "Whether browsers may ship with that rule (hstspreload.org).",
    "LAUNCH_QUOTA": "Unfinished runs of an organisation at which it is answered 429; 0: no limit.",
    "LOG_FORMAT": "How lines are written for log drains.",
    "MAILGUN_API_KEY": "Sends mail through Mailgun instead of SMTP.",
    "MAILGUN_API_URL": "Mailgun's API; in Europe `https://api.eu.mailgun.net/v3`.",
    "MAILGUN_SENDER_DOMAIN": "The domain at Mailgun that sends.",
    "MAINTENANCE": "Closes the site, see [maintenance](#maintenance).",
    "MAX_UPLOAD_BYTES": "The largest file that may be submitted.",
    "MEDIA_URL": "Address of public media: `https://media.example.org/` for a CDN or a proxy in front of the"
    " bucket, `/media/` for `web`; empty: the bucket's own address, or `/media/` without one.",
    "OIDC_CLIENT_ID": "Client at the OpenID Connect provider.",
    "OIDC_CLIENT_SECRET": "Secret of that client.",
    "OIDC_NAME": "What the button of that provider says after “Sign in with”.",
    "OIDC_SERVER_URL": "Offers sign-in by an OpenID Connect provider: the address before"
    " `/.well-known/openid-configuration`.",
    "POSTMARK_SERVER_TOKEN": "Sends mail through Postmark instead of SMTP.",
    "RETENTION_IDEMPOTENCY_KEYS": "Days after which `manage.py purge` removes idempotency keys.",
    "RETENTION_SESSIONS": "Days after which `manage.py purge` removes expired sessions.",
    "RETENTION_EVENTS": "Days after which `manage.py purge` removes events of ended runs.",
    "RETENTION_RECEIPTS": "Days after which `manage.py purge` removes callback receipts.",
    "RETENTION_WEBHOOK_DELIVERIES": "Days after which `manage.py purge` removes deliveries of webhooks.",
    "WEBHOOKS_MAY_BE_LOCAL": "Whether webhooks, the files of schedules and the AI endpoints of"
    " organisations may have `http://` addresses, on this host and in private networks.",
    "RETENTION_AUDIT": "Days after which `manage.py purge` removes entries of audit logs.",
    "RETENTION_EXPORTS": "Days after which `manage.py purge` removes reports and archives; they are made anew"
    " when somebody asks.",
    "RETENTION_ATTEMPTS": "Days after which `manage.py purge` removes attempts but the last of each step.",
    "RETENTION_INPUTS": "Days after which `manage.py purge` removes copies of inputs in the folders of attempts.",
    "RETENTION_UNUSED_SUBMISSIONS": "Days after which `manage.py purge` removes submissions without a run.",
    "RETENTION_DEAD_JOBS": "Days after which `manage.py purge` removes dead letters of the database queue.",
    "RETENTION_NOTIFICATIONS": "Days after which `manage.py purge` removes notifications of people.",
    "RETENTION_SUPPORT_REQUESTS": "Days after which `manage.py purge` removes requests to the support.",
    "RETENTION_TRACKING_EVENTS": "Days after which `manage.py purge` removes events of the use of the product.",
    "RETENTION_EVIDENCE": "Days for which the evidence of a run is kept; 0: for ever.",
    "RETENTION_RESULTS": "Days for which a run is kept, if its evidence need not be; 0: for ever.",
    "SEED_FILE": "Where the demonstration writes down what it made.",
    "SIGN_IN_LINKS_ACCOUNTS": "Whether a provider signs in to an existing account with the same verified"
    " address; 0: only after the user has linked it.",
    "SIGN_IN_ORIGINS": "Further origins to which a provider's sign-in page redirects, such as"
    " `https://login.example.org`.",
    "SENTRY_DSN": "Reports errors to [Sentry](../production.md#errors); validators get it, too.",
    "SENTRY_ENVIRONMENT": "The environment's name in Sentry.",
    "SITE_LANGUAGES": "Languages that people may choose beside English: `de,fr`. Without it those that have a"
    " catalogue. Django and its libraries have the texts of forms and sign-in; others stay English.",
    "SITE_URL": "Where people find this site: `https://runs.example.org`.",
    "STATIC_ROOT": "Folder of the collected static files.",
    "TRACES_URL": "What shows traces: the address of a trace's page without its id, which the page of a run"
    " links to. Without it there is no link.",
    "TRUSTED_PROXY_COUNT": "How many proxies of yours append to `X-Forwarded-For`: 1 on a platform such as"
    " Heroku or behind one proxy. With 0 the header is ignored, and all clients of a proxy share limits.",
    "WHITENOISE_USE_FINDERS": "For development; a host serves what was collected.",
    "WORKER_API_KEY": "Secret that containers show when they call back; needed unless `CONTAINER_NETWORK`"
    " is `none`.",
    "WORKER_URL": "Where validators call back: on a host at `SITE_URL` unless told; on Google Cloud at the"
    " private worker, whose tokens are made for this address.",
    # Read by other settings only.
    "CAPABILITY_ACCOUNT": "Account with storage roles only, of which validators get tokens for their folder.",
    "CLOUD_TASKS_EXPORT_QUEUE": "Short name of the Cloud Tasks queue of exports; without it that of runs.",
    "CLOUD_TASKS_PROBE_QUEUE": "Short name of the Cloud Tasks queue of FMU probes; without it that of runs.",
    "CLOUD_TASKS_WEBHOOK_QUEUE": "Short name of the Cloud Tasks queue of webhooks; without it that of runs.",
    "CLOUD_TASKS_QUEUE": "Short name of the Cloud Tasks queue.",
    "CLOUD_TASKS_SERVICE_ACCOUNT": "Account as which the queue calls the worker.",
    "CONTAINERS_OWNER": "The label of this checkout's containers.",
    "CUSTOM_VALIDATOR_ACCOUNT": "Account as which custom validators run; without it there are none.",
    "CUSTOM_VALIDATOR_SECRET_ACCOUNTS": "Accounts as which custom validators with secrets run, by the"
    " number of their organisation: `12=custom-12@project.iam.gserviceaccount.com`.",
    "CUSTOM_VALIDATOR_SUBNETWORK": "Subnetwork that gets all traffic of custom validators that must not"
    " reach the internet; without it such validators are refused.",
    "GCP_REGION": "Region of queue and jobs.",
    "GCS_BUCKET": "Bucket of submissions, attempts and artifacts.",
    "GOOGLE_CLOUD_PROJECT": "The project's id.",
    "MOCK_SCENARIO": "What mocked validators play where nobody asks.",
    "MODAL_APP": "The app at [Modal](../modes/modal.md) whose functions are the validators.",
    "MODAL_CALLER_ACCOUNT": "Account with whose ID tokens validators at Modal call the worker.",
    "MODAL_ENVIRONMENT": "The environment of that app; empty: the token's default.",
    "MODAL_TOKEN_ID": "Id of the token with which Modal is called.",
    "MODAL_TOKEN_SECRET": "Secret of that token.",
    "SCHEDULER_ACCOUNT": "Account that may ask for a sweep.",
    "TASK_QUEUE": "Whether tasks run in place or wait in the database.",
    "VALIDATOR_JOB_PREFIX": "Prefix of the names of the validators' jobs, such as `prod-`.",
}


def read(name: str) -> list[Variable]:
    """Return what `config.settings.<name>` reads, what is required first. For a process of its own."""
    env.use_placeholders()
    import_module(f"config.settings.{name}")
    return sorted(env.variables.values(), key=lambda each: (not each.required, each.name))


def markdown(variables: Sequence[Variable]) -> str:
    rows = [
        f"| `{each.name}` | {each.kind} | {_default(each)} | {MEANINGS.get(each.name, '')} |"
        for each in variables
    ]
    return "\n".join(["| variable | type | default | what for |", "|---|---|---|---|", *rows])


def insert(page: str, name: str, table: str) -> str:
    """Return the page with the table between its markers. Raises ValueError where they are missing."""
    begin = BEGIN.format(name=name)
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"The page lacks the lines {begin!r} and {END!r}.")
    return f"{before}{begin}\n\n{table}\n\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    names = sorted(path.stem for path in (BASE_DIR / "config/settings").glob("[a-z]*.py"))
    parser = argparse.ArgumentParser(prog="python -m config.variables")
    parser.add_argument("settings", choices=names)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="for programs")
    how.add_argument("--write", type=Path, metavar="PAGE", help="put the table between its markers")
    chosen = parser.parse_args(arguments)
    variables = read(chosen.settings)
    if chosen.json:
        said = [asdict(each) | {"meaning": MEANINGS.get(each.name, "")} for each in variables]
        sys.stdout.write(json.dumps(said, indent=2) + "\n")
    elif chosen.write:
        page = insert(chosen.write.read_text(), chosen.settings, markdown(variables))
        chosen.write.write_text(page)
    else:
        sys.stdout.write(markdown(variables) + "\n")
    return 0


def _default(variable: Variable) -> str:
    if variable.required:
        return "**required**"
    value = variable.default
    if isinstance(value, bool):
        return "`1`" if value else "`0`"
    text = ",".join(value) if isinstance(value, list) else str(value)
    return f"`{text.replace(str(BASE_DIR), '…')}`" if text else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
