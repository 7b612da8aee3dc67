"""The stack of this folder: its ports and how it last ended."""

from dataclasses import asdict

from devenv.cli.context import Context
from devenv.stack import ports
from devenv.stack.problems import Check


def listening(context: Context) -> Check:
    if context.is_running():
        return Check("ports", "ok", "taken by this developer environment")
    wanted = asdict(context.config.ports)
    if taken := [port for port in wanted.values() if not ports.is_free(port)]:
        held = ", ".join(f"{port} by {ports.holder(port)}" for port in taken)
        return Check(
            "ports",
            "warn",
            f"taken: {held}",
            "nothing: the next free ones are used; or choose others in devenv.toml",
        )
    return Check("ports", "ok", "free")


def state(context: Context) -> Check:
    last = context.state()
    if context.is_running():
        return Check("state", "ok", f"{last.phase}, process {last.pid}")
    if last.phase == "failed":
        return Check("state", "warn", f"the last start failed: {last.error}", "make logs, make up")
    if last.phase in ("starting", "ready", "stopping"):
        return Check("state", "warn", "the last run was killed; nothing is lost", "make up")
    return Check("state", "ok", "stopped")
