"""Claim of an attempt's folder, where a provider cannot be asked whether it accepted a launch.

The folder has one object `execution` with the name of the only execution that may work on the attempt.
Storage is create-only, so the first claim wins: that of the execution as it begins, that of the worker
whose launch was answered, or that of a worker who withdraws a launch without an answer.
"""

from validators.sdk.storage import ObjectExists, Storage

# The claim of a launch that nobody waits for any more. No execution has this name.
WITHDRAWN = "withdrawn"
_NAME_LIMIT = 1000


def claim(storage: Storage, folder: str, execution: str) -> str:
    """Claim the folder URI for an execution, unless it is claimed; return whose it is.

    Can be repeated. Raises StorageError.
    """
    uri = f"{folder}/execution"
    try:
        storage.create(uri, execution.encode(), mime_type="text/plain")
    except ObjectExists:
        return storage.read(uri, limit=_NAME_LIMIT).decode()
    return execution
