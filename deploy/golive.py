"""Checks before users come: those that a machine can make, and the list of the others."""

from collections.abc import Iterator
from functools import partial

from deploy.layout import Layout
from deploy.plan import plan
from deploy.simulate import connection_limit
from deploy.stage import Stage
from deploy.verify import CheckFailed, StageCheck, checks, expect

_MAILERS = ("POSTMARK_SERVER_TOKEN", "MAILGUN_API_KEY", "AMAZON_SES_REGION", "EMAIL_HOST")

# The tasks of a person, with a word on how to do each.
PERSONAL_TASKS = (
    "Domain: publish the records of its mapping, and see the site in a browser by that name.",
    "Mail: SPF, DKIM and DMARC of the sender's domain; receive a mail of the sign-up.",
    "Database, if the stage has none of its own: backups, a second zone, enough connections.",
    "Restore: practise a point-in-time restore and a lost region on a stage for trials.",
    "Rollback: practise it once, with `python -m deploy rollback`.",
    "Alerts: receive one, for example by a threshold that is too low for a minute.",
    "Budget: set `[budget]` in the stage, and see that its mails reach who can act.",
    "Quotas: compare those of the project with `python -m deploy simulate` at the busiest hour.",
    "Operators: `manage.py createsuperuser`, with a second factor; sign-up open, by invitation or closed.",
    "Access: who may deploy, who reads logs, who may see secrets; remove everybody else.",
    "Law: privacy notice, terms, contracts with providers, retention times.",
    "Support: an address that users know, and who answers at night.",
)


def machine_checks(layout: Layout) -> Iterator[StageCheck]:
    """Yield the checks of the stage file, of the cloud, and of the running services from outside."""
    stage = layout.stage
    yield StageCheck("domain is set", partial(_domain, stage))
    yield StageCheck("mail has a provider", partial(_mail, stage))
    yield StageCheck("no demonstration account", partial(_no_demo, stage))
    yield StageCheck("instances are kept warm", partial(_warm, stage))
    yield StageCheck("deleted files can be restored", partial(_restorable, stage))
    yield StageCheck("errors are reported", partial(_errors, stage))
    yield StageCheck("alerts have addresses", partial(_alerts, stage))
    yield StageCheck("database has enough connections", partial(_connections, stage))
    yield StageCheck("database is kept safe", partial(_safe_database, stage))
    yield StageCheck("cloud is in line with the stage file", partial(_in_line, layout))
    yield StageCheck("secrets have one version", partial(_one_version, layout))
    yield StageCheck("site answers", partial(expect, layout.names.site_url, "/health/ready/", 200))
    yield from checks(layout, None)


def _domain(stage: Stage) -> None:
    if not stage.domain or stage.domain.endswith(".example"):
        raise CheckFailed(f"`domain` is {stage.domain!r}. Set the host name that users know")


def _mail(stage: Stage) -> None:
    if not any(name in stage.secrets or name in stage.env for name in _MAILERS):
        raise CheckFailed(f"set one of {', '.join(_MAILERS)} in `secrets` or `[env]`")
    sender = stage.env.get("DEFAULT_FROM_EMAIL", "")
    if "@" not in sender or ".example" in sender:
        raise CheckFailed(f"DEFAULT_FROM_EMAIL is {sender!r}. Set the address of the sender")


def _no_demo(stage: Stage) -> None:
    if found := [name for name in stage.env if name.startswith("DEMO_")]:
        raise CheckFailed(f"remove {', '.join(found)} from `[env]`; delete the account in the site")


def _warm(stage: Stage) -> None:
    if cold := [name for name in ("web", "worker") if not getattr(stage, name).min_instances]:
        raise CheckFailed(f"set `min_instances` of {' and '.join(cold)} to 1 or more")


def _restorable(stage: Stage) -> None:
    # 0 keeps noncurrent versions for ever.
    if 0 < stage.buckets.noncurrent_days < 7:
        raise CheckFailed("set `noncurrent_days` of `[buckets]` to 7 or more")


def _errors(stage: Stage) -> None:
    if "SENTRY_DSN" not in {*stage.env, *stage.secrets}:
        raise CheckFailed("set SENTRY_DSN in `secrets` or `[env]`")


def _alerts(stage: Stage) -> None:
    emails = stage.alerts.emails
    if not emails or any(each.endswith(".example") for each in emails):
        raise CheckFailed(f"`emails` of `[alerts]` is {emails}. Set the addresses of the operators")


def _connections(stage: Stage) -> None:
    limit = connection_limit(stage)
    if stage.database and limit.share > 1:
        raise CheckFailed(
            f"{limit.arithmetic} are {limit.need:g} connections, and {limit.source} has {limit.limit:g}. "
            "Set DATABASE_POOL or `max_instances` lower, or take a larger `tier`"
        )


def _safe_database(stage: Stage) -> None:
    size = stage.database
    if size and not (size.protected and size.high_availability):
        raise CheckFailed("set `protected` and `high_availability` of `[database]` to true")


def _in_line(layout: Layout) -> None:
    if found := plan(layout.resources(), layout.strays()):
        names = ", ".join(change.resource.address for change in found[:5])
        raise CheckFailed(f"{len(found)} differences, such as {names}. Run `plan`, then `apply`")


def _one_version(layout: Layout) -> None:
    for secret in layout.data.secrets:
        if secret.read() is None or len(secret.versions()) != 1:
            raise CheckFailed(f"{secret.address} has none or several. Run `secrets rotate`")
