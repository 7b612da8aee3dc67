"""Names of Cloud Storage's methods, as Google's discovery document has them, by verb and path.

The XML API has no names of its own: its requests get those of the JSON API that do the same.
"""

import re

_BUCKET, _OBJECT = r"/storage/v1/b/[^/]+", r"/storage/v1/b/[^/]+/o/.+"
_ITEM = {"GET": "get", "HEAD": "get", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_XML = {"GET": "get", "HEAD": "get", "PUT": "insert", "POST": "insert", "DELETE": "delete"}
_PATHS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        r"(/resumable)?/upload/.*",
        "objects",
        {"POST": "insert", "PUT": "insert", "DELETE": "cancel"},
    ),
    (r"/download/.*", "objects", {"GET": "get"}),
    (r"/batch/.*", "batch", {"POST": "send"}),
    (r"/storage/v1/b", "buckets", {"GET": "list", "POST": "insert"}),
    (_BUCKET, "buckets", _ITEM),
    (rf"{_BUCKET}/iam", "buckets", {"GET": "getIamPolicy", "PUT": "setIamPolicy"}),
    (rf"{_BUCKET}/iam/testPermissions", "buckets", {"GET": "testIamPermissions"}),
    (rf"{_BUCKET}/lockRetentionPolicy", "buckets", {"POST": "lockRetentionPolicy"}),
    (rf"{_BUCKET}/storageLayout", "buckets", {"GET": "getStorageLayout"}),
    (rf"{_BUCKET}/managedFolders", "managedFolders", {"GET": "list"}),
    (rf"{_BUCKET}/o", "objects", {"GET": "list"}),
    (rf"{_OBJECT}/compose", "objects", {"POST": "compose"}),
    (rf"{_OBJECT}/copyTo/.+", "objects", {"POST": "copy"}),
    (rf"{_OBJECT}/rewriteTo/.+", "objects", {"POST": "rewrite"}),
    (rf"{_OBJECT}/moveTo/.+", "objects", {"POST": "move"}),
    (_OBJECT, "objects", _ITEM),
    (r"/storage/v1/projects/[^/]+/serviceAccount", "projects.serviceAccount", {"GET": "get"}),
    (r"/(?!storage/v1/).+", "objects", _XML),
)
_NAMED = tuple((re.compile(path), kind, verbs) for path, kind, verbs in _PATHS)
METHODS = tuple(
    sorted({f"storage.{kind}.{verb}" for _, kind, verbs in _PATHS for verb in verbs.values()})
)


def method_id(verb: str, path: str) -> str:
    """Return the name of a request's method: `storage.objects.insert`."""
    for pattern, kind, verbs in _NAMED:
        if verb in verbs and pattern.fullmatch(path):
            return f"storage.{kind}.{verbs[verb]}"
    return f"storage {verb} {path[:200]}"
