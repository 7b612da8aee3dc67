"""Lists that are handed out in pages."""

import base64
import binascii
from bisect import bisect_right
from collections.abc import Iterable

from devenv.gcp.errors import InvalidArgument


def page(names: Iterable[str], *, size: int, token: str, most: int) -> tuple[list[str], str]:
    """Return the sorted names that follow `token`, at most `size`, and the token of the next page."""
    if size < 0:
        raise InvalidArgument("Page size cannot be negative.")
    try:
        last = base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument("The page token is not valid.") from error
    ordered = sorted(names)
    start = bisect_right(ordered, last) if last else 0
    chosen = ordered[start : start + min(size or most, most)]
    more = start + len(chosen) < len(ordered)
    return chosen, base64.urlsafe_b64encode(chosen[-1].encode()).decode() if more else ""
