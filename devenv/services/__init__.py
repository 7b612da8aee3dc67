"""The services of a stack as data for the supervisor, and the URLs where they are found."""

from devenv.local_stack import LocalStack
from devenv.services import builtin, declared
from devenv.stack.service import StackService
from devenv.tunnel import published


def services(stack: LocalStack) -> tuple[StackService, ...]:
    """Return the services that `up` starts in the profile of the stack."""
    names = [name for name in stack.config.services if stack.config.is_started(name)]
    return tuple(
        builtin.BUILDERS[name](stack) if name in builtin.BUILDERS else declared.build(stack, name)
        for name in names
    )


def urls(stack: LocalStack) -> dict[str, str]:
    """Return the URL of each service that has one."""
    found = dict[str, str]()
    for name in stack.config.services:
        if name == "postgres":
            found[name] = stack.postgres_url
        elif name == "mail":
            found |= {name: stack.mail_url, "smtp": stack.smtp_url}
        elif name == "gcp":
            found[name] = f"http://127.0.0.1:{stack.ports[name]}"
        elif name in ("console", "oidc"):
            found[name] = stack.console_url if name == "console" else stack.oidc_url
        elif name == "tunnel":
            opened = published.read(published.file_in(stack.folder.state))
            found |= {name: opened.url} if opened else {}
        elif stack.command(name).port:
            found[name] = stack.local_url(name) + stack.command(name).page
    return found
