"""Entry point of the containers of docker-compose.local.yml: `python -m devenv.compose COMMAND`."""

import argparse
import sys
from pathlib import Path

from devenv.compose import inside


def main() -> int:
    arguments = _parser().parse_args()
    root = Path.cwd()
    inside.require_fresh_image(root)
    if arguments.command == "prepare":
        inside.prepare(root)
    elif arguments.command == "cloud":
        inside.become_cloud(root, project=arguments.project)
    elif arguments.command == "console":
        inside.become_console(root, mail_port=arguments.mail_port)
    elif arguments.command == "facts":
        print(inside.told(root))  # noqa: T201 - read by `make status`
    else:
        outside = {"web": arguments.site_port, "mail": arguments.mail_port}
        if arguments.console_port:
            outside["console"] = arguments.console_port
        config, stack = inside.stack(root, mode=arguments.mode, outside=outside)
        if arguments.command == "setup":
            return inside.set_up(stack)
        if arguments.command == "serve":
            return inside.serve(config, stack, arguments.service)
        inside.become(stack, arguments.service, arguments.program)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devenv.compose", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="make secrets and folders in the volume; as root")
    cloud_ = commands.add_parser("cloud", help="become the emulated cloud")
    cloud_.add_argument("--project", required=True, help="the compose project")
    console = commands.add_parser("console", help="become the console of the emulated cloud")
    console.add_argument("--mail-port", type=int, default=8025, help="of mail, from outside")
    commands.add_parser("facts", help="print how to get in, as JSON")
    setup = commands.add_parser("setup", help="run the steps, unless nothing has changed")
    serve = commands.add_parser("serve", help="run a service, and reload it after edits")
    run = commands.add_parser("run", help="become a program, in the environment of a service")
    for command in (setup, run, serve):
        command.add_argument("--mode", default="", help="a profile of devenv.toml")
        command.add_argument("--site-port", type=int, default=8000, help="of web, from outside")
        command.add_argument("--mail-port", type=int, default=8025, help="of mail, from outside")
        command.add_argument(
            "--console-port", type=int, default=0, help="of the console, from outside"
        )
    for command in (run, serve):
        command.add_argument("service")
    run.add_argument("program", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main())
