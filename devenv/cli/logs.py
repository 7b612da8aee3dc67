"""`logs`: what services wrote, and what they write."""

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.cli.output import show_log_line
from devenv.stack.logfile import Follower, pause, tail


def run(context: Context, *, services: list[str], lines: int, follow: bool) -> int:
    if project := compose.find(context):
        return compose.logs(context, project, services=services, lines=lines, follow=follow)
    written = {path.stem for path in context.config.logs.glob("*.log")}
    known = sorted(written | set(context.state().services))  # a service may have written nothing
    names = services or known
    if unknown := sorted(set(names) - set(known)):
        context.output.fail(
            f"There is no log of {unknown[0]}; there is {', '.join(known) or 'none'}."
        )
        return 2
    paths = {name: context.config.logs / f"{name}.log" for name in names}
    followers = {name: Follower(path) for name, path in paths.items()}
    for name, path in paths.items():
        for line in tail(path, lines):
            show_log_line(context.output, name, line, alone=len(names) == 1)
    while follow:
        for name, follower in followers.items():
            for line in follower.new_lines():
                show_log_line(context.output, name, line, alone=len(names) == 1)
        pause()
    return 0
