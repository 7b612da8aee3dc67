"""Reports of unexpected errors to Sentry, where a deployment has a DSN.

A report tells the traceback and the request's address. It has no body, no values of local variables
and no user: the documents and keys of tenants stay here.
"""

import sentry_sdk
from django.core.exceptions import ImproperlyConfigured
from sentry_sdk.utils import BadDsn

from config.env import env

SENTRY_DSN = env.str("SENTRY_DSN", default="")
_ENVIRONMENT = env.str("SENTRY_ENVIRONMENT", default="production")
if SENTRY_DSN:
    try:
        sentry_sdk.init(
            dsn=SENTRY_DSN,
            environment=_ENVIRONMENT,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
        )
    except BadDsn as error:
        raise ImproperlyConfigured(
            f"SENTRY_DSN is no DSN ({error}); copy it from the project's settings in Sentry."
        ) from error
