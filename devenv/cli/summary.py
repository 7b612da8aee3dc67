"""URLs and credentials of a stack: a table for people, the same as data for scripts."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from devenv.cli.output import table
from devenv.product import Product
from devenv.services import urls
from devenv.stack.statefile import StackState

_TITLES = {
    "emulated": "emulated Google Cloud",
    "mock": "mock validators",
    "local": "this machine, without a cloud",
    "tunnel": "real Google Cloud, through a tunnel",
}


def facts(
    product: Product, state: StackState, *, seed: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the data of `status --json`. Samples are absolute paths.

    `seed` is the result of the setup; by default it is read from the file of this folder.
    """
    seed = _seed(product.config.seed_file) if seed is None else seed
    return {
        "mode": state.mode,
        "runtime": state.runtime,
        "phase": state.phase,
        "services": {
            name: {"state": one.state, "pid": one.pid, "restarts": one.restarts, "note": one.note}
            for name, one in state.services.items()
        },
        "urls": urls(product),
        "login": {"email": product.demo_email, "password": product.secrets.demo_password},
        "api_key": product.secrets.demo_api_key,
        "debuggers": {name: f"127.0.0.1:{port}" for name, port in product.debug.items()},
        "org": seed.get("org"),
        "workflows": [_with_samples(one, product.config.root) for one in seed.get("workflows", ())],
    }


def table_of(facts: dict[str, Any]) -> Group:
    """Return the table that ends `up`."""
    places, login = facts["urls"], facts["login"]
    rows = [
        ("Web", places["web"]),
        ("Sign in", f"{login['email']}  {login['password']}"),
        ("API key", facts["api_key"]),
        ("Mail", places["mail"]),
        *([("Worker", places["worker"])] if "worker" in places else []),
        *([("Google APIs", places["gcp"])] if "gcp" in places else []),
        *([("Tunnel", places["tunnel"])] if "tunnel" in places else []),
        *([("Queue", places["queue"])] if "queue" in places else []),
        ("PostgreSQL", places["postgres"]),
        *((f"Debug {name}", place) for name, place in facts["debuggers"].items()),
    ]
    title = f"Validibot · {_TITLES.get(facts['mode'], facts['mode'])}"
    if facts["runtime"]:
        title += " · in containers"
    return Group(
        "",
        Text(f"  {title}", style="bold"),
        "",
        table(rows),
        "",
        Text("  From another terminal", style="bold"),
        "",
        *(Text(f"  {line}") for line in paste(facts)),
        "",
    )


def client(facts: dict[str, Any]) -> dict[str, str]:
    """Return the variables of the published client."""
    org = {"VALIDIBOT_ORG": facts["org"]} if facts["org"] else {}
    return {
        "VALIDIBOT_API_URL": facts["urls"]["web"],
        "VALIDIBOT_TOKEN": facts["api_key"],
    } | org


def paste(facts: dict[str, Any]) -> list[str]:
    """Return the shell lines of a first run with the published client."""
    variables = " ".join(f"{name}={value}" for name, value in client(facts).items())
    lines = [
        "pip install validibot-cli==0.3.2",
        f"export {variables}",
        "validibot workflows list",
    ]
    if facts["workflows"]:
        first = facts["workflows"][0]
        lines.append(f"validibot validate {shlex.quote(first['sample'])} -w {first['slug']}")
    return lines


def _seed(path: Path) -> dict[str, Any]:
    try:
        seed = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return seed if isinstance(seed, dict) else {}


def _with_samples(workflow: dict[str, Any], root: Path) -> dict[str, Any]:
    samples = {
        name: str(root / workflow[name])
        for name in ("sample", "failing_sample")
        if workflow.get(name)
    }
    return {"slug": workflow.get("slug"), "name": workflow.get("name")} | samples
