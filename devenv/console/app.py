"""The application of the console: its pages behind the checks of Host, Origin and token."""

from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from devenv.console.clock_pages import ClockPages
from devenv.console.cloud import CloudClient
from devenv.console.fault_pages import FaultPages, MailPages, SnapshotPages
from devenv.console.gate import HEADERS, ConsoleGate
from devenv.console.iam_pages import IamPages
from devenv.console.job_pages import JobPages
from devenv.console.journal_pages import JournalPages
from devenv.console.local import StackView
from devenv.console.log_pages import LogPages
from devenv.console.problems import ConsoleProblem
from devenv.console.pubsub_pages import PubSubPages
from devenv.console.resource_pages import ResourcePages
from devenv.console.run_pages import RunPages
from devenv.console.secret_pages import SchedulePages, SecretPages
from devenv.console.shell import Shell
from devenv.console.stack_pages import StackPages
from devenv.console.storage_pages import StoragePages
from devenv.console.task_pages import TaskPages
from devenv.console.trace_pages import TracePages
from devenv.local_only import LocalOnly

_STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleConfig:
    """The stack that a console shows: the folder of its state, and where the rest is.

    `cloud` is the URL of the emulated cloud and `mail` that of the mail catcher, empty without one;
    `cloud_data` is the folder of the cloud, with the token of its control API and the logs of jobs.
    `mail_page` is the URL of the mail catcher in a browser. Where other containers have the
    services, there is no stack that could be seen from here: `has_stack` is false.
    """

    state: Path
    token: str
    title: str = "devenv"
    cloud: str = ""
    cloud_data: Path = Path()
    mail: str = ""
    mail_page: str = ""
    has_stack: bool = True


def build(config: ConsoleConfig) -> Starlette:
    """Return the application."""
    stack = StackView(config.state)
    has = {
        "cloud": bool(config.cloud),
        "mail": bool(config.mail),
        "stack": config.has_stack,
    }
    cloud = CloudClient(config.cloud, config.cloud_data)
    shell = Shell(token=config.token, title=config.title, has=has, cloud_now=cloud.now)

    async def missing(request: Request, _error: Exception) -> Response:
        return shell.problem(
            request, ConsoleProblem(f"There is no page {request.url.path[:100]}.", status=404)
        )

    async def problem(request: Request, error: Exception) -> Response:
        return shell.problem(request, error)

    app = Starlette(
        routes=[
            Route("/health", _health),
            Mount("/static", StaticFiles(directory=_STATIC)),
            *_pages(config, shell, cloud, stack),
        ],
        middleware=[
            Middleware(LocalOnly),
            Middleware(ConsoleGate, token=config.token),
        ],
        exception_handlers={ConsoleProblem: problem, HTTPException: missing},
    )
    app.state.cloud = cloud
    return app


def _pages(
    config: ConsoleConfig, shell: Shell, cloud: CloudClient, stack: StackView
) -> list[Route]:
    """Return the routes of all pages."""
    routes = [
        *TracePages(shell, cloud, stack).routes(),
        *JournalPages(shell, cloud).routes(),
        *LogPages(shell, cloud).routes(),
        *TaskPages(shell, cloud).routes(),
        *PubSubPages(shell, cloud).routes(),
        *JobPages(shell, cloud).routes(),
        *RunPages(shell, cloud, stack if config.has_stack else None).routes(),
        *StoragePages(shell, cloud).routes(),
        *SecretPages(shell, cloud).routes(),
        *SchedulePages(shell, cloud).routes(),
        *IamPages(shell, cloud).routes(),
        *ResourcePages(shell, cloud).routes(),
        *FaultPages(shell, cloud).routes(),
        *ClockPages(shell, cloud).routes(),
        *MailPages(shell, config.mail, page=config.mail_page or config.mail).routes(),
    ]
    if not config.has_stack:
        return [*routes, Route("/", _first_page)]
    return [*routes, *StackPages(shell, stack).routes(), *SnapshotPages(shell, stack).routes()]


async def _first_page(_request: Request) -> Response:
    return RedirectResponse("/traces", 303, headers=HEADERS)


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok")
