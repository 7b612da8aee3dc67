"""The ASGI entry point of the public service."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")
django_application = get_asgi_application()

# Only once Django is set up can anything of ours be imported.
from validibot.core.limits import BodyLimit  # noqa: E402

# Some room for the other fields of a multipart body.
application = BodyLimit(django_application, settings.MAX_UPLOAD_BYTES + 1024 * 1024)
