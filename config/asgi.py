"""The ASGI entry point of the public service."""

import gc
import os

import django
from django.conf import settings

from config import debugger

gc.disable()  # until all is loaded: hardly any of it becomes garbage
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")
django.setup(set_prefix=False)

# Only once Django is set up can anything of ours be imported.
from validibot.core.asgi import ThreadedHandler  # noqa: E402
from validibot.core.limits import BodyLimit  # noqa: E402

debugger.listen()
# Some room for the other fields of a multipart body.
application = BodyLimit(ThreadedHandler(), settings.MAX_UPLOAD_BYTES + 1024 * 1024)
# Everything loaded stays; later collections need not look at it again.
gc.freeze()
gc.enable()
