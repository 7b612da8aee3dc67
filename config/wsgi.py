"""The WSGI entry point of web and worker."""

import gc
import os

from django.core.wsgi import get_wsgi_application

from config import debugger

gc.disable()  # until all is loaded: hardly any of it becomes garbage
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")

debugger.listen()
application = get_wsgi_application()
# Everything loaded stays; later collections need not look at it again.
gc.freeze()
gc.enable()
