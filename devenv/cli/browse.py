"""`open`: a page of the stack in the browser."""

import webbrowser

from devenv.cli import compose
from devenv.cli.context import Context
from devenv.services import urls
from devenv.stack.problems import StackError, UsageProblem


def run(context: Context, *, page: str) -> int:
    """Print the URL of a service and open it. Raises StackError."""
    if project := compose.find(context):
        _, found = compose.look(context, project)
        places = found["urls"]
    else:
        places = urls(context.running_stack())
    pages = {name: url for name, url in places.items() if url.startswith(("http://", "https://"))}
    if page not in pages:
        raise UsageProblem(
            f"{page!r:.60} has no page in this stack; there are {', '.join(pages)}.",
            hint="devenv open " + next(iter(pages), "web"),
        )
    context.output.result({"page": page, "url": pages[page]}, pages[page])
    if not webbrowser.open(pages[page]):
        raise StackError("There is no browser here.", hint=f"open {pages[page]} yourself")
    return 0
