"""The product's image as a command: it serves as `APP_ROLE` says, or runs a command of manage.py.

It does what compose/production/django/start.sh does in the image.
"""

import os
import sys

if __name__ == "__main__":
    python = sys.executable
    if arguments := sys.argv[1:]:
        os.execv(python, [python, "manage.py", *arguments])  # noqa: S606
    server = [python, "-m", "granian", "--host", "127.0.0.1", "--no-ws", "--log-level", "warning"]
    server += ["--port", os.environ["PORT"]]  # noqa: TID251 - the container's own
    if os.environ["APP_ROLE"] == "web":  # noqa: TID251
        os.execv(python, [*server, "--interface", "asginl", "config.asgi:application"])  # noqa: S606
    os.execv(  # noqa: S606
        python,
        [*server, "--interface", "wsgi", "--blocking-threads", "4", "config.wsgi:application"],
    )
