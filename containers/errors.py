"""What can be wrong; every message is a sentence that says what to do next."""


class EngineUnavailable(Exception):
    """Nobody answers where the container engine should be; it may come back."""


class ImageMissing(Exception):
    """The engine does not have the image."""


class CannotStart(Exception):
    """The engine answers, and refuses to start this container."""
