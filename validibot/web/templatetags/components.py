"""Template tags of the components; `docs/pages.md` shows each."""

from typing import Any

from django import template
from django.urls import reverse

register = template.Library()


@register.inclusion_tag("web/components/nav_link.html", takes_context=True)
def nav_link(
    context: template.Context, route: str, *args: Any, text: str, also: str = ""
) -> dict[str, Any]:
    """Link to a route, marked as the current page on it and on the routes named in `also`."""
    match = getattr(context.get("request"), "resolver_match", None)
    places = {route, *also.split()}
    is_current = match is not None and match.url_name in places
    return {"url": reverse(route, args=args), "text": text, "is_current": is_current}
