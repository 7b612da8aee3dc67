"""Pages of Cloud Storage: buckets, their folders, and one object with a preview."""

import json
import mimetypes
import re
from contextlib import closing
from typing import Any
from urllib.parse import quote

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from devenv.console.cloud import STORAGE, CloudClient
from devenv.console.gate import HEADERS
from devenv.console.problems import ConsoleProblem
from devenv.console.shell import Shell

_PAGE = 200
_PREVIEW = 64 * 1024
# Images that no browser runs scripts of; SVG is not among them.
_IMAGES = ("image/gif", "image/jpeg", "image/png", "image/webp")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')  # of JSON
_LARGEST_IMAGE = 5_000_000


class StoragePages:
    """Routes of buckets and objects. Names of objects stand in the query: they have slashes."""

    def __init__(self, shell: Shell, cloud: CloudClient) -> None:
        self._shell = shell
        self._cloud = cloud

    def routes(self) -> list[Route]:
        act, post = self._shell.action, ["POST"]
        return [
            Route("/storage", self.buckets),
            Route("/storage/{bucket}", self.folder),
            Route("/storage/{bucket}/object", self.object),
            Route("/storage/{bucket}/download", self.download),
            Route("/storage/{bucket}/image", self.image),
            Route("/storage/{bucket}/upload", act(self.upload), methods=post),
            Route("/storage/{bucket}/delete", act(self.delete), methods=post),
        ]

    def buckets(self, request: Request) -> Response:
        project = self._cloud.control("project")["project"]
        answer = self._cloud.api(STORAGE, "/storage/v1/b", project=project)
        buckets = answer.get("items", [])
        return self._shell.page(request, "buckets.html", place="storage", buckets=buckets)

    def folder(self, request: Request) -> Response:
        bucket, prefix = request.path_params["bucket"], request.query_params.get("prefix", "")
        token = request.query_params.get("page", "")
        answer = self._cloud.api(
            STORAGE,
            f"/storage/v1/b/{quote(bucket, safe='')}/o",
            prefix=prefix,
            delimiter="/",
            maxResults=_PAGE,
            pageToken=token,
        )
        return self._shell.page(
            request,
            "folder.html",
            place="storage",
            bucket=bucket,
            prefix=prefix,
            above=_above(prefix),
            folders=answer.get("prefixes", []),
            objects=answer.get("items", []),
            settings="" if prefix else self._settings(bucket),
            is_first=not token,
            next_page=answer.get("nextPageToken", ""),
        )

    def _settings(self, bucket: str) -> str:
        """Return a bucket as the API answers: its lifecycle, versioning, retention and so on."""
        found = self._cloud.api(STORAGE, f"/storage/v1/b/{quote(bucket, safe='')}")
        return json.dumps(found, indent=2, ensure_ascii=False)

    def object(self, request: Request) -> Response:
        found = self._find(request)
        return self._shell.page(
            request,
            "object.html",
            place="storage",
            bucket=found["bucket"],
            object=found,
            above=_above(found["name"]),
            is_image=found.get("contentType") in _IMAGES and int(found["size"]) <= _LARGEST_IMAGE,
            text=self._preview(found),
        )

    def download(self, request: Request) -> Response:
        """Send an object as a file that no browser shows, whatever type its writer gave it."""
        found = self._find(request)
        content = self._cloud.download(_path(found))
        name = quote(found["name"].rpartition("/")[2])
        return StreamingResponse(
            content,
            media_type="application/octet-stream",
            headers={**HEADERS, "Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
        )

    def image(self, request: Request) -> Response:
        found = self._find(request)
        if found.get("contentType") not in _IMAGES:
            raise ConsoleProblem(f"{found['name'][:200]} is not an image.", status=404)
        content = self._cloud.download(_path(found))
        return StreamingResponse(content, media_type=found["contentType"], headers=HEADERS)

    def upload(self, request: Request, form: FormData) -> str:
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise ConsoleProblem("file: choose a file to upload.")
        # Browsers write " in the name of a file as %22, and leave other characters as they are.
        own = str(form.get("name", "")).strip() or file.filename.replace("%22", '"')
        name = f"{form.get('prefix', '')}{own}"
        kind = file.content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        bucket = quote(request.path_params["bucket"], safe="")
        path = f"/upload/storage/v1/b/{bucket}/o"
        self._cloud.upload(path, file.file, kind, uploadType="media", name=name)
        return f"{name} uploaded."

    def delete(self, request: Request, form: FormData) -> str:
        name = str(form.get("name", ""))
        item = {"bucket": request.path_params["bucket"], "name": name}
        self._cloud.api(STORAGE, _path(item), verb="DELETE")
        return f"{name} deleted."

    def _find(self, request: Request) -> dict[str, Any]:
        name = request.query_params.get("name", "")
        return self._cloud.api(STORAGE, _path({**request.path_params, "name": name}))

    def _preview(self, found: dict[str, Any]) -> str | None:
        """Return the beginning of an object, None if it is not text."""
        if found["size"] == "0":
            return ""  # of which there is no range
        content = b""
        # An object with Content-Encoding is decompressed, and comes whole whatever was asked for.
        with closing(self._cloud.download(_path(found), most=_PREVIEW)) as chunks:
            for chunk in chunks:
                content += chunk
                if len(content) >= _PREVIEW:
                    break
        whole = len(content) == int(found["size"])
        try:
            # A character may be cut in two at the end of what was read.
            text = content[:_PREVIEW].decode("utf-8", "strict" if whole else "ignore")
        except UnicodeDecodeError:
            return None
        if "\0" in text:
            return None
        return pretty(text) if whole and found.get("contentType") == "application/json" else text


def pretty(text: str) -> str:
    """Return JSON on lines of its own, each name and value as it is written; other text as it is."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    lines, depth, before = [""], 0, ""
    for part in _TOKEN.findall(text):
        opens, closes = part in ("[", "{"), part in ("]", "}")
        depth -= closes
        was_opened = before in ("[", "{")
        if (closes and not was_opened) or (not closes and (was_opened or before == ",")):
            lines.append("  " * depth)
        lines[-1] += ": " if part == ":" else part
        depth += opens
        before = part
    return "\n".join(lines)


def _path(item: dict[str, Any]) -> str:
    bucket, name = quote(item["bucket"], safe=""), quote(item["name"], safe="")
    return f"/storage/v1/b/{bucket}/o/{name}"


def _above(name: str) -> list[tuple[str, str]]:
    """Return the folders above a name: (what is shown, prefix)."""
    parts = name.split("/")[:-1]
    return [(part, "/".join(parts[: end + 1]) + "/") for end, part in enumerate(parts)]
