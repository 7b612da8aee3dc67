"""`replay`: a request that the tunnel's gate saved, or one of a file, posted to a service again."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from devenv.cli.cloud import EmulatedAccount, ask
from devenv.cli.context import Context
from devenv.cli.output import table
from devenv.local_stack import LocalStack
from devenv.stack.problems import StackError
from devenv.tunnel.saved import SavedRequest, SavedRequests, Unreadable, load


def run(context: Context, *, what: str, service: str, account: str) -> int:
    """Post it to the service on this machine, which verifies its caller as it always does."""
    stack = context.running_stack()
    file, saved = _saved(stack, what)
    if not service and not stack.has_tunnel:
        raise StackError(
            "This stack has no tunnel, so the service must be named.",
            hint=f"devenv replay {what} --service NAME",
        )
    service, caller = service or stack.tunnel_target(), account or saved.caller
    stack.command(service)
    origin = stack.tunnel_url() if stack.has_tunnel else stack.url(service)
    headers = {"Content-Type": "application/json", "Host": urlsplit(origin).netloc}
    if token := _token(stack, caller, origin):
        headers["Authorization"] = f"Bearer {token}"
    url = stack.local_url(service) + saved.path
    reply = ask(url, headers=headers, body=saved.body.encode())
    answer = reply.json()
    told = json.dumps(answer) if answer is not None else reply.text
    rows = [
        ("From", str(file)),
        ("Posted", url),
        ("As", caller or "nobody"),
        ("Answer", f"{reply.status} {told}"),
    ]
    data = {"source": str(file), "status": reply.status, "answer": answer}
    context.output.result(data, table(rows))
    return 0 if 200 <= reply.status < 300 else 1


def _saved(stack: LocalStack, what: str) -> tuple[Path, SavedRequest]:
    """Return the newest request with a key, or that of a file. Raises StackError."""
    file = SavedRequests(stack.folder.state / "requests").latest(what) or Path(what)
    if not file.is_file():
        raise StackError(
            f"{what} is not a file, and no request with this key was saved.",
            hint="ls .devenv/requests",
        )
    try:
        return file, load(file)
    except Unreadable as error:
        raise StackError(str(error), hint="ls .devenv/requests") from error


def _token(stack: LocalStack, caller: str, audience: str) -> str:
    """Return an ID token of the caller from the cloud of this stack, "" if it has none."""
    if not caller:
        return ""
    if stack.has_cloud:
        return EmulatedAccount(stack, caller.partition("@")[0]).id_token(audience)
    if not stack.has_tunnel:
        return ""
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
