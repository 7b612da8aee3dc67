"""Verification of evidence bundles without a database, settings or network.

It needs nothing but Python's standard library, so that an auditor can use this one file:
`python verification.py BUNDLE.zip`. `validibot.runs.bundle` writes the bundles, and tells the format.
"""

import argparse
import hashlib
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

LISTING = "SHA256SUMS"
MANIFEST = "evidence/manifest.json"
CONTENTS = "evidence/contents.json"
FINDINGS = "findings.jsonl"
OUTPUTS = "outputs.json"
# The files that every bundle has beside the submission and the artifacts.
DOCUMENTS = (MANIFEST, CONTENTS, FINDINGS, OUTPUTS)

MAX_ENTRIES = 100_000
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024 * 1024
# A bundle may be packed again by other programs, but not into a fraction that no real file reaches.
MAX_RATIO = 200
_SMALL_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
# zipfile expands what the other methods have packed without any limit.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_LISTED = re.compile(r"([0-9a-f]{64})  ([^\r\n]+)")
_SHA256 = re.compile("[0-9a-f]{64}")
# Unsafe in the path of an archive or a disk; `%` too, so that no two names become one.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f%/\\<>:"|?*]|^\.')
# Raised by documents that are JSON and have another form than expected.
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError)
# Raised by zipfile for a damaged archive; names in another encoding are a ValueError.
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
    *(EOFError, RuntimeError, ValueError),
)
_FINDING_FIELDS = ("severity", "code", "message", "path", "line", "column")


class BundleInvalid(Exception):
    """The file is no evidence bundle, or one that cannot be read safely; the message says why."""


@dataclass(slots=True)
class Verification:
    """The outcome of a verification: paths in the bundle by what is wrong with them.

    `not_kept` are files that the evidence names and that had been removed before the bundle was
    made. They do not make it invalid. The digests are those of manifest and contents, in hex.
    """

    run: str
    status: str
    result: str
    manifest_sha256: str
    contents_sha256: str
    verified: int = 0
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    not_kept: list[str] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        return not (self.missing or self.changed or self.added)

    def as_json(self) -> dict[str, Any]:
        return {"valid": self.is_valid, **asdict(self)}


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys and without spaces, in UTF-8, as digests are taken of it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def safe_name(name: str) -> str:
    """Return a file name as a part of a path: unsafe characters as `%` and their code."""
    return _UNSAFE.sub(lambda found: quote(found[0], safe="").replace(".", "%2E"), name) or "%"


def files_of(contents: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each file that the contents of evidence name, by its path."""
    submission = contents["submission"]
    files = {f"submission/{safe_name(submission['filename'])}": str(submission["sha256"])}
    for file in submission.get("further_files", []):
        files[f"submission/{safe_name(file['filename'])}"] = str(file["sha256"])
    for step in contents["steps"]:
        for file in step["artifacts"]:
            files[artifact_path(step["order"], file["name"])] = str(file["sha256"])
    return files


def artifact_path(order: int, name: str) -> str:
    """Return the path of an artifact of the step at `order`."""
    return f"artifacts/step-{int(order)}/{safe_name(name)}"


def verify(path: Path, expected: str = "") -> Verification:
    """Compare a bundle with its listing and its evidence. Raises BundleInvalid and OSError.

    `expected` is the SHA-256 of the contents that is known from somewhere else, such as the report of
    the run. Without it somebody who changes the evidence, too, is not noticed. The contents name every
    file and tell all that the manifest tells; the manifest names no findings, outputs and artifacts.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive, path.stat().st_size)
            return _verify(archive, entries, expected.lower())
    except _UNREADABLE as error:
        raise BundleInvalid(f"The zip file cannot be read: {error}.") from None


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the files of the archive by path, after checks of what unpacking them would take."""
    found = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(found) > MAX_ENTRIES:
        raise BundleInvalid(f"It has {len(found):,} files; at most {MAX_ENTRIES:,} are read.")
    unpacked = sum(entry.file_size for entry in found)
    if unpacked > max(_SMALL_BYTES, size * MAX_RATIO):
        raise BundleInvalid(
            f"Its {size:,} bytes claim to unpack to {unpacked:,}, more than {MAX_RATIO} times as many."
        )
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in found:
        if entry.filename in entries:
            raise BundleInvalid(f"It has the file {printable(entry.filename)} twice.")
        if entry.compress_type not in _METHODS or entry.flag_bits & _ENCRYPTED:
            raise BundleInvalid(
                f"{printable(entry.filename)} is encrypted or not packed with deflate. Pack it again."
            )
        entries[entry.filename] = entry
    return entries


def _verify(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], expected: str
) -> Verification:
    listed = _listing(archive, entries)
    contents, manifest = (_document(archive, entries, name) for name in (CONTENTS, MANIFEST))
    digests = {name: _digest(archive, entry) for name, entry in entries.items() if name != LISTING}
    try:
        found = Verification(
            run=str(contents["run_id"]),
            status=str(contents["status"]),
            result=str(contents["result"]),
            manifest_sha256=digests[MANIFEST],
            contents_sha256=digests[CONTENTS],
        )
        named = files_of(contents)
        wrong = {
            name
            for name in entries.keys() & {FINDINGS, OUTPUTS}
            if not _agrees(name, archive, entries[name], contents)
        }
        agree = _without_nulls(manifest) == _manifest_of(contents)
    except _MALFORMED as error:
        raise BundleInvalid(
            f"{CONTENTS} or {MANIFEST} has not the expected form: {error!r}."
        ) from None
    if expected == found.manifest_sha256:
        raise BundleInvalid(
            f"The digest is that of {MANIFEST}, which proves no findings, outputs and artifacts. Give"
            " that of the contents, which the API and the report of the run show beside it."
        )
    if not agree or (expected and expected != found.contents_sha256):
        wrong |= {MANIFEST, CONTENTS}
    wanted = {**dict.fromkeys(DOCUMENTS, ""), **listed}
    wrong |= {name for name, digest in digests.items() if listed.get(name, digest) != digest}
    wrong |= {name for name in digests.keys() & named if named[name] != digests[name]}
    known = {*DOCUMENTS, *named}
    found.missing = sorted(wanted.keys() - digests.keys())
    found.added = sorted(name for name in digests if name not in known or name not in listed)
    found.changed = sorted(wrong - {*found.added})
    found.not_kept = sorted(named.keys() - listed.keys() - digests.keys())
    found.verified = len(digests.keys() - {*found.added, *found.changed})
    return found


def _manifest_of(contents: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a run with these contents, without nulls and the address of its format."""
    steps = [
        {
            "key": str(step["order"]),
            "status": step["status"],
            "validator": step["validator"] or "unknown",
            "validator_version": step["validator_version"] or "unknown",
            "backend_image_digest": step.get("image_digest") or None,
        }
        for step in contents["steps"]
    ]
    workflow = contents["workflow"]
    manifest = {name: contents[name] for name in ("run_id", "completed_at", "status")}
    manifest["input_sha256"] = contents["submission"]["sha256"]
    manifest["workflow"] = {
        "slug": workflow["slug"],
        "version": str(workflow["version"]),
        "steps": steps,
    }
    found: dict[str, Any] = _without_nulls(manifest)
    return found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {
            name: each for name, each in value.items() if each is not None and name != "$schema"
        }
        return {name: _without_nulls(each) for name, each in kept.items()}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _listing(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> dict[str, str]:
    """Return the SHA-256 of each file that the listing names, by path."""
    text = _read(archive, entries, LISTING).decode(errors="replace")
    listed: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        if (found := _LISTED.fullmatch(line)) is None:
            raise BundleInvalid(
                f"Line {number} of {LISTING} is not `digest  path`: {printable(line[:80])}."
            )
        listed[found[2]] = found[1]
    return listed


def _document(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str
) -> dict[str, Any]:
    try:
        document = json.loads(_read(archive, entries, name))
    except (ValueError, RecursionError) as error:
        raise BundleInvalid(f"{name} is not JSON: {str(error)[:200]}.") from None
    if not isinstance(document, dict):
        raise BundleInvalid(f"{name} is not a JSON object.")
    return document


def _read(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str) -> bytes:
    if name not in entries:
        raise BundleInvalid(
            f"It has no {name}, so it is no evidence bundle. Download everything of a run that has"
            " ended, or use `manage.py export_run RUN --kind bundle`."
        )
    if entries[name].file_size > MAX_DOCUMENT_BYTES:
        raise BundleInvalid(f"{name} has more than {MAX_DOCUMENT_BYTES:,} bytes.")
    with archive.open(entries[name]) as file:
        return file.read(MAX_DOCUMENT_BYTES)


def _digest(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    digest = hashlib.sha256()
    # The size is checked when all entries are: zipfile reads no more than the entry declares.
    try:
        with archive.open(entry) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except zipfile.BadZipFile as error:
        if "CRC-32" not in str(error):
            raise
        return "damaged"
    return digest.hexdigest()


def _agrees(
    name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, contents: Mapping[str, Any]
) -> bool:
    """Return whether findings or outputs are those of the evidence; False if they are damaged."""
    try:
        return _AGREE[name](archive, entry, contents)
    except (*_MALFORMED, BundleInvalid, zipfile.BadZipFile):
        return False


def _findings_agree(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, contents: Mapping[str, Any]
) -> bool:
    """Return whether the findings are those of the evidence; they are never all in memory."""
    found: dict[int, Any] = {}
    counts: dict[int, int] = {}
    for row in _lines(archive, entry):
        order = row["step"]
        if order not in found:
            found[order] = hashlib.sha256(b'{"findings":[')
        elif counts[order]:
            found[order].update(b",")
        counts[order] = counts.get(order, 0) + 1
        found[order].update(canonical({name: row[name] for name in _FINDING_FIELDS}))
    empty = hashlib.sha256(b'{"findings":[]}').hexdigest()
    digests = {order: _closed(digest) for order, digest in found.items()}
    steps = {step["order"]: step["findings"]["sha256"] for step in contents["steps"]}
    return {order: digests.get(order, empty) for order in steps | digests} == steps


def _closed(digest: Any) -> str:
    digest.update(b"]}")
    return str(digest.hexdigest())


def _lines(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[dict[str, Any]]:
    with archive.open(entry) as file:
        while line := file.readline(MAX_LINE_BYTES):
            yield json.loads(line)


def _outputs_agree(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, contents: Mapping[str, Any]
) -> bool:
    outputs = _document(archive, {OUTPUTS: entry}, OUTPUTS)
    found = {
        order: hashlib.sha256(canonical(values)).hexdigest() for order, values in outputs.items()
    }
    return found == {str(step["order"]): step["outputs_sha256"] for step in contents["steps"]}


type _Agrees = Callable[[zipfile.ZipFile, zipfile.ZipInfo, Mapping[str, Any]], bool]
_AGREE: Mapping[str, _Agrees] = {FINDINGS: _findings_agree, OUTPUTS: _outputs_agree}


def printable(text: str) -> str:
    """Return a path with its control characters written out, so that it is safe on a terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument("file", type=Path, metavar="FILE", help="an evidence bundle (.zip)")
    parser.add_argument(
        "--digest",
        type=_sha256,
        metavar="SHA256",
        help="of the contents, as the API and the report of the run show it",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def run(path: Path, *, digest: str | None, as_json: bool, write: Callable[[str], object]) -> int:
    """Verify and write a report. Return 0 if the bundle is valid, 1 if it differs, 2 if unusable."""
    try:
        found = verify(path, digest or "")
    except (BundleInvalid, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"{path} cannot be verified: {reason}"
        write(json.dumps({"valid": None, "error": message}) if as_json else message)
        return 2
    write(json.dumps(found.as_json()) if as_json else _report(found))
    return 0 if found.is_valid else 1


def _report(found: Verification) -> str:
    lines = [f"Run {printable(found.run)}: {printable(found.status)}, {printable(found.result)}"]
    lines += [f"Manifest {found.manifest_sha256}", f"Contents {found.contents_sha256}"]
    for word in ("missing", "changed", "added", "not_kept"):
        lines += [f"{word.replace('_', ' ')}: {printable(name)}" for name in getattr(found, word)]
    verdict = "valid" if found.is_valid else "NOT valid"
    return "\n".join([*lines, f"The bundle is {verdict}: {found.verified} files verified."])


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a SHA-256 of 64 hex digits.")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command without Django."""
    parser = argparse.ArgumentParser(description="Verify an evidence bundle of a Validibot run.")
    add_arguments(parser)
    given = parser.parse_args(arguments)
    write = sys.stdout.write
    return run(
        given.file, digest=given.digest, as_json=given.json, write=lambda text: write(f"{text}\n")
    )


if __name__ == "__main__":
    sys.exit(main())
