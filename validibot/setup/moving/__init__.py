"""Moving of an installation to this one: files, database, addresses of files in its rows.

docs/moving-in.md has the order of the steps. Every step reads the old installation only, and can be
interrupted and repeated.
"""


class MoveError(Exception):
    """A step cannot be done, or did not do everything; the message says what to do."""
