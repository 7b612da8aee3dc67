"""Evidence bundles: all files of a run as one zip, with the evidence that proves them.

    SHA256SUMS                  digest and path of every other file, as `sha256sum --check` reads it
    evidence/manifest.json      the manifest in canonical JSON: the digest of the file is the manifest's
    evidence/contents.json      the contents, likewise
    submission/NAME             the submitted file, and those that were sent beside it
    artifacts/step-ORDER/NAME   what the steps produced
    findings.jsonl              an object per finding
    outputs.json                the outputs of each step, by its order

Files that retention has removed are left out of zip and listing; the evidence still names them. The
bundle of a run that has not ended has no evidence. `validibot.runs.verification` verifies a bundle.
"""

import hashlib
from collections.abc import Iterator

from zipstream import ZipStream

from validibot.core.storage import ObjectNotFound, get_storage
from validibot.runs.evidence import evidence_of
from validibot.runs.exports import as_json_lines
from validibot.runs.models import Artifact, Run
from validibot.runs.verification import (
    CONTENTS,
    FINDINGS,
    LISTING,
    MANIFEST,
    OUTPUTS,
    artifact_path,
    canonical,
    safe_name,
)
from validibot.submissions import content
from validibot.submissions.models import ReceivedFile


def write_bundle(run: Run) -> Iterator[bytes]:
    """Return the zip of a run in chunks; the files are read when their turn comes.

    Everything that needs the database is read before the first chunk, so that the chunks may be
    taken in another thread. Raises StorageError.
    """
    archive = ZipStream()
    digests: dict[str, str] = {}
    for file in (run.submission, *run.submission.further_files):
        if _is_kept(file):
            path = f"submission/{safe_name(file.filename)}"
            archive.add(_kept(content.stream(file)), path)
            digests[path] = file.sha256
    for artifact in run.artifacts.select_related("step_run"):
        if get_storage(artifact.uri).current(artifact.uri) is not None:
            path = artifact_path(artifact.step_run.order, artifact.name)
            archive.add(_kept(_stored(artifact)), path)
            digests[path] = artifact.sha256
    for path, document in _documents(run).items():
        archive.add(document, path)
        digests[path] = hashlib.sha256(document).hexdigest()
    archive.add("".join(f"{digest}  {path}\n" for path, digest in digests.items()), LISTING)
    return iter(archive)


def _documents(run: Run) -> dict[str, bytes]:
    outputs = {str(step.order): step.outputs for step in run.steps.all()}
    documents = {FINDINGS: as_json_lines(run), OUTPUTS: canonical(outputs)}
    if run.ended_at is not None and outputs:
        # Imported late: the published models take a sixth of the start of each process.
        from validibot_shared.canonicalization import canonicalize_model  # noqa: PLC0415
        from validibot_shared.evidence.manifest import EvidenceManifest  # noqa: PLC0415

        evidence = evidence_of(run)
        manifest = EvidenceManifest.model_validate(evidence.manifest)
        documents[MANIFEST] = canonicalize_model(manifest)
        documents[CONTENTS] = canonical(evidence.contents)
    return documents


def _is_kept(file: ReceivedFile) -> bool:
    return file.inline is not None or get_storage(file.uri).current(file.uri) is not None


def _stored(artifact: Artifact) -> Iterator[bytes]:
    return get_storage(artifact.uri).stream(artifact.uri, version=artifact.storage_version)


def _kept(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a file; one that is removed while the zip is written is empty in it."""
    try:
        yield from chunks
    except ObjectNotFound:
        return
