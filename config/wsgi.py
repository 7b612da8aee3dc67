"""The WSGI entry point of web and worker."""

import os

from django.core.wsgi import get_wsgi_application

from config import debugger

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")

debugger.listen()
application = get_wsgi_application()
