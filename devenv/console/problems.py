"""Errors that a page of the console shows in words."""


class ConsoleProblem(Exception):
    """A request that could not be done; the message says why and what helps."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
