"""What may go wrong."""


class BackupError(Exception):
    """A sentence for the operator."""
