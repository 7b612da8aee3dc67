"""Django's `makemessages`, without translations guessed from similar texts."""

from django.core.management.commands import makemessages


class Command(makemessages.Command):
    """A guess would stand in the catalogue, marked as fuzzy, and its placeholders may be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.msgmerge_options = [*self.msgmerge_options, "--no-fuzzy-matching"]
