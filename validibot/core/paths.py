"""What may stand in a URL for the name of something."""


class IdentConverter:
    """A slug, a number or a UUID; anything else is an unknown path, not a database query."""

    regex = r"[-\w.]{1,100}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value
