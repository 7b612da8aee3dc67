"""Posting a callback once more: one that the gate has saved, or the one of a run's container."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from devenv.cli.local_http import EmulatedAccount, LocalReply, ask
from devenv.local_stack import LocalStack
from devenv.services import declared
from devenv.stack.problems import StackError
from devenv.tunnel.doors import CALLBACKS
from devenv.tunnel.saved import Callbacks, SavedCallback, Unreadable, load

_STORAGE = "storage.googleapis.com"
_PAGES = 20


@dataclass(frozen=True, slots=True)
class CallbackReplay:
    """A callback to post again, and its source."""

    saved: SavedCallback
    source: str


def find(stack: LocalStack, what: str) -> CallbackReplay:
    """Return the callback that a file holds, or that belongs to a run. Raises StackError."""
    kept = Callbacks(stack.folder.state / "callbacks").latest(what)
    file = kept or Path(what)
    if file.is_file():
        try:
            return CallbackReplay(load(file), str(file))
        except Unreadable as error:
            raise StackError(str(error), hint="ls .devenv/callbacks") from error
    if stack.has_cloud:
        return CallbackReplay(*_as_the_container_would(stack, what))
    raise StackError(
        f"{what} is not a file, and no callback of this run was saved.", hint="ls .devenv/callbacks"
    )


def post(stack: LocalStack, saved: SavedCallback) -> LocalReply:
    """Post it to the worker on this machine, which verifies the token as it always does."""
    headers = {
        "Content-Type": "application/json",
        "Host": urlsplit(_worker_url(stack)).netloc,
        **_authorization(stack, saved.caller),
    }
    return ask(stack.local_url("worker") + saved.path, headers=headers, body=saved.body.encode())


def _authorization(stack: LocalStack, caller: str) -> dict[str, str]:
    """Return the header with a token of the callback's sender, minted by the cloud of this mode."""
    if stack.has_cloud:
        token = EmulatedAccount(stack, caller.partition("@")[0]).id_token(_worker_url(stack))
    elif stack.has_tunnel:
        token = _googles(caller, _worker_url(stack))
    else:
        return {}  # without a cloud the nonce in the body is all that counts
    return {"Authorization": f"Bearer {token}"}


def _worker_url(stack: LocalStack) -> str:
    """Return the origin by which the worker is called, which is the audience of its callers."""
    return declared.variables(stack, "worker")["WORKER_URL"]


def _googles(caller: str, audience: str) -> str:
    from devenv.tunnel import google  # noqa: PLC0415 - Google's libraries, for this mode only

    try:
        return str(google.Google().send(google.id_token(caller, audience))["token"])
    except (google.CallFailed, KeyError) as error:
        raise StackError(
            f"Google gives you no ID token of {caller}: {error}.",
            hint=f"gcloud iam service-accounts add-iam-policy-binding {caller} --member "
            '"user:$(gcloud config get account)" '
            "--role roles/iam.serviceAccountOpenIdTokenCreator",
        ) from error


def _as_the_container_would(stack: LocalStack, run: str) -> tuple[SavedCallback, str]:
    """Return the callback of a run's latest attempt, from the envelope of its container."""
    bucket = stack.config.cloud.buckets[0]
    web = EmulatedAccount(stack, "web")
    names = sorted(
        (item["timeCreated"], item["name"])
        for item in _objects(web, bucket)
        if f"/{run}/" in item["name"] and item["name"].endswith("/input.json")
    )
    if not names:
        raise StackError(f"No container was launched for {run}.", hint="the id of a run, or a file")
    name = names[-1][1]
    path = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    envelope = web.get(_STORAGE, path, alt="media")
    context = envelope["context"]
    body = {
        "run_id": run,
        "callback_id": context["callback_id"],
        "callback_nonce": context["callback_nonce"],
        "status": "success",
        "result_uri": context["expected_output_uri"],
    }
    kind = str(envelope["validator"]["type"]).lower()
    caller = next(
        (job.account for job in stack.config.cloud.jobs if kind in job.name),
        stack.config.cloud.jobs[0].account,
    )
    saved = SavedCallback(path=CALLBACKS, caller=caller, body=json.dumps(body))
    return saved, f"gs://{bucket}/{name}"


def _objects(web: EmulatedAccount, bucket: str) -> Iterator[dict[str, Any]]:
    token = ""
    for _ in range(_PAGES):
        query = {"prefix": "runs/", "maxResults": "1000"} | ({"pageToken": token} if token else {})
        page = web.get(_STORAGE, f"/storage/v1/b/{bucket}/o", **query)
        yield from page.get("items", ())
        token = page.get("nextPageToken", "")
        if not token:
            return
