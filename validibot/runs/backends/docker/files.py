"""Files of a container: the folder of its attempt, and each file that its envelope names.

Every file is mounted at the path of its URI, so a `file://` URI means the same inside and outside. A
container cannot see files of other attempts, not even their names.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from pydantic import ValidationError
from validibot_shared.validations.envelopes import ValidationInputEnvelope

from containers import ContainerMount
from validators.sdk.storage.file import path_of
from validibot.core.envelopes import faults_of
from validibot.core.storage import get_storage

MAX_FILES = 100
_ENVELOPE_BYTES = 4 * 1024 * 1024
# Counted for each file and folder: a million empty ones take space, too.
_MIN_BYTES = 4096
_UNLIMITED = 2**62


class FilesRefused(Exception):
    """The envelope names a file that a container must not get."""


def read_envelope(uri: str) -> ValidationInputEnvelope:
    """Read the input envelope of an attempt. Raises FilesRefused, StorageError."""
    content = get_storage(uri).read(uri, limit=_ENVELOPE_BYTES)
    try:
        return ValidationInputEnvelope.model_validate_json(content)
    except ValidationError as error:
        fault = faults_of(error, root="envelope")
        raise FilesRefused(f"{uri} is not an input envelope: {fault}.") from error


def bundle_of(input_uri: str) -> Path:
    """Return the folder of an attempt, with its envelope and its outputs."""
    return path_of(input_uri).parent


def mounts(envelope: ValidationInputEnvelope, input_uri: str) -> tuple[ContainerMount, ...]:
    """Return the mounts of a container. Raises FilesRefused, StorageError.

    Only the attempt's folder is writable, except for the inputs in it.
    """
    named = {item.uri for item in envelope.input_files}
    named |= {item.uri for item in envelope.resource_files}
    if len(named) > MAX_FILES:
        raise FilesRefused(
            f"{input_uri} names {len(named)} files; at most {MAX_FILES} are allowed."
        )
    bundle = _mount(bundle_of(input_uri), read_only=False)
    return (bundle, *(_mount(_file(uri)) for uri in sorted({input_uri, *named})))


def allow_writes(folder: Path, user: str) -> None:
    """Allow `user` (`uid:gid`) to create files in the folder of an attempt."""
    uid, gid = (int(number) for number in user.split(":"))
    if folder.stat().st_uid == uid:
        return
    if os.geteuid() == 0:
        os.chown(folder, uid, gid)
        return
    # Writable for everybody, but below a folder that only we may enter: the engine mounts it.
    folder.parent.chmod(0o700)
    outputs = folder / "outputs"  # owned by us, so that we may delete files in it
    outputs.mkdir(exist_ok=True)
    for each in (folder, outputs):
        each.chmod(0o777)


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder take, without files that vanish meanwhile.

    A folder that we cannot read, by its rights or its depth, counts as unlimited.
    """
    return sum(_sizes(str(folder)))


def _sizes(folder: str) -> Iterator[int]:
    waiting = [folder]  # no recursion: the container decides how deep its folders are
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError as error:
            yield _size_of_unreadable(error)
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            try:
                # Allocated blocks: a sparse file has any length without taking space.
                taken = entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError as error:
                yield _size_of_unreadable(error)
            else:
                yield max(taken, _MIN_BYTES)


def _size_of_unreadable(error: OSError) -> int:
    return _UNLIMITED if error.errno in (errno.EACCES, errno.ENAMETOOLONG) else 0


def _mount(path: Path, *, read_only: bool = True) -> ContainerMount:
    return ContainerMount(source=str(path), target=str(path), read_only=read_only)


def _file(uri: str) -> Path:
    path = path_of(uri)
    root = path_of(settings.DATA_ROOT)
    if not path.is_relative_to(root):
        raise FilesRefused(f"{uri} is not below {settings.DATA_ROOT}.")
    plain = root.resolve() / path.relative_to(root)
    if plain.resolve() != plain or not plain.is_file():
        raise FilesRefused(f"{uri} is not a regular file.")
    return path
