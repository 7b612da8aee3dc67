"""A container in the product's place: it serves, or runs a command of `manage.py` that does nothing.

`FAILS` is the name of a command that fails. With the argument `broken` it does not serve.
"""

import os
import sys

from tests.emulator.echo_server import Handler, serve


class ProductHandler(Handler):
    """The product's public service, which has no internal endpoints."""

    def do_GET(self) -> None:  # noqa: N802 - the name of the base class
        if self.path.startswith("/internal/"):
            self.send_error(404)
        else:
            super().do_GET()

    def do_POST(self) -> None:  # noqa: N802 - the name of the base class
        """Answer as a product that has all its access."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access": {}}')


if __name__ == "__main__":
    command = [each for each in sys.argv[1:] if each != "broken"]
    if command or "broken" in sys.argv:
        failing = os.environ.get("FAILS")  # noqa: TID251 - the container's own
        sys.exit(int(not command or command[0] == failing))
    serve(ProductHandler)
