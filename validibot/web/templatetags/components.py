"""Template tags of the components; `docs/pages.md` shows each."""

from typing import Any

from django import template
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

register = template.Library()

# The first that is found names a browser or a system: browsers list those that they are like, too.
_BROWSERS = {
    "Edg/": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "HeadlessChrome/": "Chrome",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
_SYSTEMS = {
    "Android": "Android",
    "iPhone": "iOS",
    "iPad": "iPadOS",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


@register.filter
def browser_name(user_agent: str) -> str:
    """Return `Firefox on Linux` for the User-Agent of a browser, else its beginning."""
    browser = next((name for mark, name in _BROWSERS.items() if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), "")
    if not browser:
        return user_agent[:60] or _("unknown")
    return (
        _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
        if system
        else browser
    )


@register.inclusion_tag("web/components/nav_link.html", takes_context=True)
def nav_link(
    context: template.Context, route: str, *args: Any, text: str, also: str = ""
) -> dict[str, Any]:
    """Link to a route, marked as the current page on it and on the routes named in `also`."""
    match = getattr(context.get("request"), "resolver_match", None)
    places = {route, *also.split()}
    is_current = match is not None and match.url_name in places
    return {"url": reverse(route, args=args), "text": text, "is_current": is_current}


@register.simple_block_tag
def table(content: SafeString, *columns: str, actions: bool = False) -> SafeString:
    """Return a table of these columns, with the rows of the block; `actions` adds an unnamed column."""
    return render_to_string(
        "web/components/table.html", {"columns": columns, "actions": actions, "rows": content}
    )
