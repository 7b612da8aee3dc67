"""Pages that a link shows to people without an account."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate

from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.cache import never_cache


def by_link[**P](
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Keep a page whose address is a secret out of caches and of search engines.

    Other sites never learn the address: `Referrer-Policy` is `same-origin` everywhere, which forms
    need, because their check of the sender reads the referrer.
    """

    @never_cache
    @wraps(view)
    def wrapped(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        answer = view(request, *args, **kwargs)
        answer.headers["X-Robots-Tag"] = "noindex, nofollow, noarchive"
        return answer

    return wrapped
