"""Public media, such as featured images: a bucket that everybody may read, or a folder.

Both hold copies that can be made again from the database. Without a public bucket they are below
`public/` in DATA_ROOT, and the web service serves them.
"""

from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from config.env import env

_GOOGLE = "storages.backends.gcloud.GoogleCloudStorage"
_FOLDER = "validibot.core.storage.media.MediaFolder"
SERVED_HERE = "/media/"
# The name of a file contains the digest of its content, so a copy of it never becomes wrong.
MEDIA_CACHE_CONTROL = "public, max-age=31536000, immutable"


def media_url() -> str:
    """Return the address of public media. Raises ImproperlyConfigured unless it is one."""
    bucket = env.str("GCS_MEDIA_BUCKET", default="")
    usual = f"https://storage.googleapis.com/{bucket}/" if bucket else SERVED_HERE
    url = env.str("MEDIA_URL", default="") or usual
    parts = urlsplit(url)
    is_address = parts.scheme in ("http", "https") and parts.netloc and url.endswith("/")
    if url != SERVED_HERE and not is_address:
        raise ImproperlyConfigured(
            f"MEDIA_URL is {url!r}; it must be {SERVED_HERE}, or begin with https:// and end with a slash."
        )
    return url


def media_storage(data_root: str, url: str) -> dict[str, Any]:
    """Return the entry of STORAGES for public media."""
    bucket = env.str("GCS_MEDIA_BUCKET", default="")
    root = urlsplit(data_root)
    if not bucket and root.scheme == "file":
        folder = f"{unquote(root.path)}/public"
        options: dict[str, Any] = {"location": folder, "base_url": url, "allow_overwrite": True}
        return {"BACKEND": _FOLDER, "OPTIONS": options}
    options = {
        "bucket_name": bucket or root.netloc,
        "location": "" if bucket else f"{root.path}/public".strip("/"),
        "object_parameters": {"cache_control": MEDIA_CACHE_CONTROL},
        "querystring_auth": False,
        "custom_endpoint": url.rstrip("/"),
        "file_overwrite": True,
    }
    return {"BACKEND": _GOOGLE, "OPTIONS": options}


def media_sources(url: str) -> list[str]:
    """Return the source that pages load media from, unless it is their own.

    With its path: at the origin of Cloud Storage everybody may have a bucket.
    """
    return [url] if urlsplit(url).netloc else []
