"""Which names buckets and objects may have.

After https://cloud.google.com/storage/docs/buckets#naming and
https://cloud.google.com/storage/docs/objects#naming.
"""

import ipaddress
import re

from devenv.gcp.errors import InvalidArgument

_BUCKET = re.compile(r"[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]")


def check_bucket_name(name: str) -> None:
    """Raise InvalidArgument for a name that no bucket may have."""
    parts = name.split(".")
    if (
        not _BUCKET.fullmatch(name)
        or not all(1 <= len(part) <= 63 for part in parts)
        or name.startswith("goog")
        or "google" in name
        or _is_address(name)
    ):
        raise InvalidArgument(f"Invalid bucket name: '{name[:230]}'")


def check_object_name(name: str) -> None:
    """Raise InvalidArgument for a name that no object may have."""
    if not name:
        raise InvalidArgument("Required")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument("The object name is not valid UTF-8.") from error
    if size > 1024:
        raise InvalidArgument(
            "The maximum object name length is 1024 bytes when UTF-8 encoded; "
            f"received a name with length {size} bytes."
        )
    if (
        name in {".", ".."}
        or any(character in name for character in "\r\n\0")
        or name.startswith(".well-known/acme-challenge/")
    ):
        raise InvalidArgument("Disallowed unicode characters or words present in object name.")


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
