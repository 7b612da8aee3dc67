"""Settings of the build of the production image, which collects the static files."""

from config.settings.base import *

SECRET_KEY = "signs nothing"
STORAGES["staticfiles"] = {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
