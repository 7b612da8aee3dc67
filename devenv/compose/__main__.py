"""Entry point of the containers of docker-compose.local.yml: `python -m devenv.compose COMMAND`."""

import argparse
import sys
from pathlib import Path

from devenv.compose import cloud, inside
from devenv.product import MODES

_ROLES = ("web", "worker")


def main() -> int:
    arguments = _parser().parse_args()
    root = Path.cwd()
    inside.require_fresh_image(root)
    if arguments.command == "prepare":
        inside.prepare(root)
    elif arguments.command == "cloud":
        cloud.become(root, project=arguments.project)
    elif arguments.command == "facts":
        print(inside.facts(root))  # noqa: T201 - read by `make status`
    else:
        product = inside.product(root, mode=arguments.mode, site_port=arguments.site_port)
        if arguments.command == "setup":
            return inside.set_up(product)
        if arguments.command == "serve":
            return inside.serve(product, arguments.role, mail_port=arguments.mail_port)
        inside.become(product, arguments.role, arguments.program)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devenv.compose", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="make secrets and folders in the volume; as root")
    cloud_ = commands.add_parser("cloud", help="become the emulated cloud")
    cloud_.add_argument("--project", required=True, help="the compose project")
    commands.add_parser("facts", help="print how to get in, as JSON")
    setup = commands.add_parser("setup", help="migrate and set up, unless nothing has changed")
    serve = commands.add_parser("serve", help="serve as a role, and reload after edits")
    serve.add_argument("--mail-port", type=int, default=8025, help="of mail, from outside")
    run = commands.add_parser("run", help="become a program, in the environment of a role")
    for command in (setup, run, serve):
        command.add_argument("--mode", choices=MODES, default="emulated")
        command.add_argument("--site-port", type=int, default=8000, help="of web, from outside")
    for command in (run, serve):
        command.add_argument("role", choices=_ROLES)
    run.add_argument("program", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
