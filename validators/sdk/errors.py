"""Reports of a validator's own failures to Sentry, where its environment has a DSN."""

import logging

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 2.0


def report_fatal(error: Exception, *, dsn: str, tags: dict[str, str]) -> None:
    """Send an error with its traceback, without values of variables; a failure is only logged.

    It waits for two seconds at most, so that an unreachable Sentry costs no run its answer.
    """
    import sentry_sdk  # noqa: PLC0415 - it takes 0.1 s, and a validator that succeeds needs none
    from sentry_sdk.utils import BadDsn  # noqa: PLC0415

    try:
        sentry_sdk.init(
            dsn=dsn, default_integrations=False, include_local_variables=False, server_name=""
        )
    except BadDsn as reason:
        log.warning("SENTRY_DSN is no DSN, nothing is reported: %s", reason)
        return
    sentry_sdk.set_tags(tags)
    sentry_sdk.capture_exception(error)
    sentry_sdk.flush(timeout=_FLUSH_SECONDS)
