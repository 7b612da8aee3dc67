"""What can go wrong with a stack, each with the command that helps."""


class StackError(Exception):
    """The message says what happened and to which service; `hint` names the next command."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class AlreadyRunning(StackError):
    """Another supervisor holds the lock of this folder."""


class ServiceFailed(StackError):
    """A service was given up before it was ever healthy."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"{service} {reason}", hint=f"make logs S={service}")
        self.service = service
