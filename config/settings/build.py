"""What the build of the production image needs: the static files as they will be served."""

from config.settings.base import *

SECRET_KEY = "signs nothing"
STORAGES["staticfiles"] = {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
