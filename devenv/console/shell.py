"""The frame of all pages: templates, forms that act and then redirect, notices."""

import base64
import codecs
import datetime as dt
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from devenv.console.gate import HEADERS, is_proof, proof
from devenv.console.problems import ConsoleProblem
from devenv.console.tones import tone

# Groups of entries: name, title, path, and the part of the stack that the page needs.
NAVIGATION = (
    (
        "Stack",
        (
            ("stack", "Services", "/", "stack"),
            ("mail", "Mail", "/mail", "mail"),
            ("snapshots", "Snapshots", "/snapshots", "stack"),
        ),
    ),
    (
        "Observe",
        (
            ("traces", "Traces", "/traces", "cloud"),
            ("journal", "Journal", "/journal", "cloud"),
            ("logs", "Logs", "/logs", "cloud"),
            ("monitoring", "Monitoring", "/monitoring", "cloud"),
        ),
    ),
    (
        "Simulate",
        (("faults", "Faults", "/faults", "cloud"), ("clock", "Clock", "/clock", "cloud")),
    ),
    (
        "Run",
        (
            ("run", "Cloud Run services", "/run", "cloud"),
            ("jobs", "Cloud Run jobs", "/jobs", "cloud"),
            ("tasks", "Tasks", "/tasks", "cloud"),
            ("schedules", "Schedules", "/schedules", "cloud"),
            ("pubsub", "Pub/Sub", "/pubsub", "cloud"),
        ),
    ),
    (
        "Data",
        (
            ("storage", "Storage", "/storage", "cloud"),
            ("sql", "Cloud SQL", "/sql", "cloud"),
            ("secrets", "Secrets", "/secrets", "cloud"),
            ("registry", "Artifact Registry", "/registry", "cloud"),
        ),
    ),
    (
        "Project",
        (
            ("iam", "IAM", "/iam", "cloud"),
            ("networks", "Networks", "/networks", "cloud"),
            ("budgets", "Budgets", "/budgets", "cloud"),
            ("apis", "APIs", "/apis", "cloud"),
        ),
    ),
)
_OF_CLOUD = frozenset(one[0] for _, pages in NAVIGATION for one in pages if one[3] == "cloud")
_NOTED = 30  # seconds that the clock of the cloud is ahead, from which on each page tells it
_NOTICE = "console_notice"
_MOST_FIELDS = 50
_MOST_BODY, _MOST_HEX = 20_000, 512  # bytes of a body that a page shows
_TEMPLATES = Path(__file__).with_name("templates")

Act: TypeAlias = Callable[[Request, FormData], str | Response]
"""Does what a form asks for; returns a notice for the next page, or a page. Raises ConsoleProblem."""
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Shell:
    """Renders pages and runs the actions of forms, for one stack and one token."""

    def __init__(
        self, *, token: str, title: str, has: Mapping[str, bool], cloud_now: Callable[[], float]
    ) -> None:
        """Show the pages of the parts that the stack `has`: `cloud`, `mail`, `stack`.

        `cloud_now` returns the time of the emulated cloud, by which its resources are dated.
        """
        self._token = token
        self._cloud_now = cloud_now
        self._pages = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=ChainableUndefined,  # JSON of Google leaves out what is empty
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._pages.globals |= {
            "ahead_at": self._ahead_at,
            "cloud_now": cloud_now,
            "title_of_stack": title,
            "navigation": _navigation(has),
            "zone": zone,
            "csrf": proof(token, "form"),
        }
        self._pages.filters |= {
            "ago": ago,
            "bytes": readable_bytes,
            "clock": clock,
            "count": "{:,}".format,
            "dots": dots,
            "duration": lambda text: str(dt.timedelta(seconds=float(text.removesuffix("s")))),
            "moment": moment_of,
            "points": points,
            "period": lambda seconds: str(dt.timedelta(seconds=round(seconds))),
            "path": lambda text: quote(str(text), safe=""),
            "tone": tone,
            "short": lambda name: str(name).rpartition("/")[2],
        }

    def page(
        self, request: Request, template: str, *, place: str, status: int = 200, **values: Any
    ) -> Response:
        """Return a page; `place` is its entry in the navigation."""
        notice = _read_notice(request)
        html = self._pages.get_template(template).render(
            request=request, place=place, notice=notice, now=time.time(), **values
        )
        response = HTMLResponse(html, status, headers=HEADERS)
        if notice:
            response.delete_cookie(_NOTICE)
        return response

    def _ahead_at(self, place: str) -> float:
        """Return by how many seconds the clock of the cloud is ahead, for a page about the cloud."""
        if place not in _OF_CLOUD:
            return 0.0  # the page is there without the cloud
        ahead = self._cloud_now() - time.time()
        return ahead if ahead > _NOTED else 0.0

    def problem(self, request: Request, error: Exception) -> Response:
        """Return the page of a ConsoleProblem."""
        assert isinstance(error, ConsoleProblem)
        return self.page(
            request,
            "problem.html",
            place="",
            status=error.status,
            message=error.message,
            again=error.status == 503 and request.method == "GET",
        )

    def redirect(self, path: str, notice: str) -> Response:
        """Return the way to another page than the form names, with a notice there."""
        response = RedirectResponse(path, 303, headers=HEADERS)
        _leave_notice(response, notice, "success")
        return response

    def action(self, act: Act, *, most_bytes: int = 1 << 20) -> Endpoint:
        """Return an endpoint that checks a form, does it in a thread, and goes back to `next`."""

        async def endpoint(request: Request) -> Response:
            async with request.form(
                max_files=1, max_fields=_MOST_FIELDS, max_part_size=most_bytes
            ) as form:
                if not is_proof(str(form.get("csrf", "")), self._token, "form"):
                    raise ConsoleProblem(
                        "The form is not one of this page's. Reload the page and send it again.",
                        status=403,
                    )
                notice, kind = "", "success"
                try:
                    done = await run_in_threadpool(act, request, form)
                    if isinstance(done, Response):
                        return done
                    notice = done
                except ConsoleProblem as error:
                    notice, kind = error.message, "error"
                response = RedirectResponse(_next(form), 303, headers=HEADERS)
                _leave_notice(response, notice, kind)
                return response

        return endpoint


def _next(form: FormData) -> str:
    """Return the path to go on with: one of ours, whatever the form says."""
    path = str(form.get("next", "")) or "/"
    return "/" + path.lstrip("/\\")


def _leave_notice(response: Response, text: str, kind: str) -> None:
    value = quote(json.dumps([kind, text[:1500]]))
    response.set_cookie(_NOTICE, value, max_age=60, httponly=True, samesite="strict")


def _read_notice(request: Request) -> Mapping[str, str]:
    try:
        kind, text = json.loads(unquote(request.cookies.get(_NOTICE, "")))
    except (ValueError, TypeError):
        return {}
    return {"kind": "error" if kind == "error" else "success", "text": str(text)}


def _navigation(has: Mapping[str, bool]) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """Return the groups of pages whose part the stack has."""
    groups = (
        (group, [one for one in pages if has.get(one[3], True)]) for group, pages in NAVIGATION
    )
    return [(group, pages) for group, pages in groups if pages]


def clock(moment: float) -> Markup:
    """Return Unix seconds as a time of this machine's day, with what of the date is not today's."""
    local = _local(moment)
    today = dt.datetime.fromtimestamp(time.time()).astimezone().date()
    form = "%H:%M:%S.%f"
    if local.date() != today:
        form = f"%d %b {form}" if local.year == today.year else f"%d %b %Y {form}"
    return _time(local, local.strftime(form)[:-3])


def dots(text: str) -> Markup:
    """Return a dotted name that may break behind its dots."""
    return Markup(".<wbr>").join(text.split("."))


def zone() -> str:
    """Return the time zone of all times on the pages."""
    now = dt.datetime.fromtimestamp(time.time()).astimezone()
    name, offset = now.strftime("%Z"), now.isoformat()[-6:]
    return name if name == "UTC" else f"{name} (UTC{offset})"


def _local(moment: float) -> dt.datetime:
    """Return Unix seconds as a time of this machine; the last day that there is for a later one."""
    last = dt.datetime(dt.MAXYEAR, 12, 30, tzinfo=dt.UTC).timestamp()
    return dt.datetime.fromtimestamp(min(moment, last)).astimezone()


def _time(local: dt.datetime, text: str) -> Markup:
    """Return a text for a moment; the whole time with its zone is a hint."""
    hint = local.strftime("%d %b %Y %H:%M:%S %Z")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(local.isoformat(), hint, text)


def moment_of(text: str) -> float:
    """Return the Unix seconds of a time as Google's APIs print it, 0 for none."""
    return dt.datetime.fromisoformat(text).timestamp() if text else 0.0


def points(values: Sequence[float], width: int, height: int) -> str:
    """Return values as the points of an SVG polyline, the greatest at the top."""
    top = max([*values, 1])
    step = width / max(len(values) - 1, 1)
    return " ".join(
        f"{number * step:.1f},{height - 1 - value / top * (height - 2):.1f}"
        for number, value in enumerate(values)
    )


def ago(moment: float, now: float) -> Markup:
    """Return how long a moment is past, or how soon it comes."""
    distance = abs(now - moment)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if distance >= size or size == 1:
            text = f"{distance / size:.0f} {unit}"
            break
    local = _local(moment)
    if local.year == dt.MAXYEAR:
        return _time(local, "never")  # the last second that Google's APIs know
    return _time(local, f"{text} ago" if moment <= now else f"in {text}")


def readable_body(encoded: str, *, size: int = 0) -> str:
    """Return the beginning of a body in base64 as text; what is no text in hexadecimal digits.

    `size` is the number of bytes of the whole body, if only its beginning was encoded.
    """
    content = base64.b64decode(encoded)
    start = content[:_MOST_BODY]
    is_cut = max(size, len(content)) > len(start)
    try:
        # The end of a cut may be half a character.
        shown = codecs.getincrementaldecoder("utf-8")().decode(start, final=not is_cut)
    except UnicodeDecodeError:
        shown = start[:_MOST_HEX].hex(" ")
        is_cut = max(size, len(content)) > _MOST_HEX
    return f"{shown}\n…" if is_cut else shown


def readable_bytes(size: float) -> str:
    unit = "B"
    for larger in ("KB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.{0 if unit == 'B' else 1}f}\N{NO-BREAK SPACE}{unit}"
