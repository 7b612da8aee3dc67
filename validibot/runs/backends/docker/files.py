"""The files that a container is given: the folder of its attempt, and each file that its envelope names.

Everything is where its URI says, so that a `file://` URI means the same inside and outside. Of the
files of others a container sees not even the names.
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
from validibot.core.storage import get_storage

MAX_FILES = 100
_ENVELOPE_BYTES = 4 * 1024 * 1024
# Of each file and folder: a million empty ones are no little thing to a disk.
_LEAST_BYTES = 4096
_TOO_MUCH = 2**62


class FilesRefused(Exception):
    """The envelope names what no container may be given."""


def read_envelope(uri: str) -> ValidationInputEnvelope:
    """Return what an attempt is told. Raises FilesRefused, StorageError."""
    content = get_storage(uri).read(uri, limit=_ENVELOPE_BYTES)
    try:
        return ValidationInputEnvelope.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "envelope"
        raise FilesRefused(f"{uri} is no input envelope: {where}: {fault['msg']}.") from error


def bundle_of(input_uri: str) -> Path:
    """Return the folder of an attempt, which holds its envelope and takes its outputs."""
    return path_of(input_uri).parent


def mounts(envelope: ValidationInputEnvelope, input_uri: str) -> tuple[ContainerMount, ...]:
    """Return what a container sees of our files. Raises FilesRefused, StorageError.

    Only the attempt's folder can be written to, and of that not the inputs.
    """
    named = {item.uri for item in envelope.input_files}
    named |= {item.uri for item in envelope.resource_files}
    if len(named) > MAX_FILES:
        raise FilesRefused(f"{input_uri} names {len(named)} files; {MAX_FILES} is the most.")
    bundle = _mount(bundle_of(input_uri), read_only=False)
    return (bundle, *(_mount(_file(uri)) for uri in sorted({input_uri, *named})))


def let_in(folder: Path, user: str) -> None:
    """Let `user`, as `uid:gid`, create files in the folder of an attempt."""
    uid, gid = (int(number) for number in user.split(":"))
    if folder.stat().st_uid == uid:
        return
    if os.geteuid() == 0:
        os.chown(folder, uid, gid)
        return
    # Open to everybody, behind a door that only we can pass: the engine mounts what lies inside.
    folder.parent.chmod(0o700)
    outputs = folder / "outputs"  # ours, so that we may delete what the container puts there
    outputs.mkdir(exist_ok=True)
    for each in (folder, outputs):
        each.chmod(0o777)


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder take; what vanishes meanwhile takes none.

    What is hidden from us, by its rights or by its depth, counts as too much.
    """
    return sum(_sizes(str(folder)))


def _sizes(folder: str) -> Iterator[int]:
    waiting = [folder]  # no recursion: a container decides how deep its folders are
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError as error:
            yield _unseen(error)
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            try:
                # What is allocated: a file may announce any length without taking any room.
                taken = entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError as error:
                yield _unseen(error)
            else:
                yield max(taken, _LEAST_BYTES)


def _unseen(error: OSError) -> int:
    return _TOO_MUCH if error.errno in (errno.EACCES, errno.ENAMETOOLONG) else 0


def _mount(path: Path, *, read_only: bool = True) -> ContainerMount:
    return ContainerMount(source=str(path), target=str(path), read_only=read_only)


def _file(uri: str) -> Path:
    path = path_of(uri)
    root = path_of(settings.DATA_ROOT)
    if not path.is_relative_to(root):
        raise FilesRefused(f"{uri} does not lie below {settings.DATA_ROOT}.")
    plain = root.resolve() / path.relative_to(root)
    if plain.resolve() != plain or not plain.is_file():
        raise FilesRefused(f"{uri} is no plain file.")
    return path
