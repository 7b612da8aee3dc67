"""Numbers in the parameters of requests for pages."""


def positive_number(text: str) -> int:
    """Return the number that a text is, or 0 for other texts and for more than nine digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
