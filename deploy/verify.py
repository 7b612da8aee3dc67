"""Checks of a running stage from outside, each with a name by which its failure is known."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests
import yaml
from google.api_core.exceptions import NotFound
from google.cloud import run_v2, secretmanager_v1

from deploy.errors import DeployError, explained
from deploy.google import GoogleCloud
from deploy.layout import Layout
from deploy.layout.names import ROOT

_REQUEST_SECONDS = 90.0
_PAUSE_SECONDS = 0.5
_AT_ONCE = 6
# A workflow of JSON, to whose sample spaces can be added until it is stored in the bucket and not in a row.
_PADDED, _PADDING_BYTES = "meter-settings", 100_000
_GALLERY = ROOT / "validibot" / "workflows" / "gallery"


class CheckFailed(Exception):
    """A check did not find what it expects; the message says what it found."""


@dataclass(frozen=True, slots=True)
class StageCheck:
    """One part of `verify`; `run` raises CheckFailed."""

    name: str
    run: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launches:
    """How to launch workflows: as the owner of `api_key` in the organisation `org`.

    A run must end within `seconds`. `only` has the slugs of the workflows to launch; without it all
    of the gallery are launched but those in `skipped`.
    """

    api_key: str
    org: str
    seconds: float
    only: Sequence[str] = ()
    skipped: Sequence[str] = ()


def checks(layout: Layout, launches: Launches | None) -> Iterator[StageCheck]:
    """Yield all checks of a stage; workflows are launched only with an API key.

    Raises DeployError if the gallery has no workflow of a name in `launches.only`.
    """
    yield from revision_checks("web", layout.names.web_url)
    yield from revision_checks("worker", layout.names.worker_url)
    for caller in layout.names.callers:
        yield StageCheck(f"worker answers {caller}", partial(_call_as, layout, caller))
    for role, url in (("web", layout.names.web_url), ("worker", layout.names.worker_url)):
        yield StageCheck(f"{role} has its access", partial(_ask_access, layout, url))
    if layout.stage.custom_validators:
        yield StageCheck("secrets of custom validators", partial(_find_custom_secrets, layout))
    if launches:
        for sample in _samples(workflows(launches.only, launches.skipped)):
            launch = partial(_launch, layout.names.web_url, launches, sample)
            yield StageCheck(f"workflow {sample.parent.name}", launch)
            if sample.parent.name == _PADDED:
                yield StageCheck("large submission", partial(launch, padding=_PADDING_BYTES))


def revision_checks(role: str, url: str) -> Iterator[StageCheck]:
    """Yield the checks of a service that its own URL shows, also that of a revision's tag."""
    if role == "worker":
        yield StageCheck("worker refuses strangers", partial(expect, url, "/health/", 403))
        return
    yield StageCheck("web is healthy", partial(expect, url, "/health/", 200))
    yield StageCheck("web reaches the database", partial(expect, url, "/health/ready/", 200))
    # Open under maintenance at the worker, so that 404 says that `web` has none of them.
    inside = "/internal/capabilities/"
    yield StageCheck("web has no internal endpoints", partial(expect, url, inside, 404))


def check_revision(role: str, url: str) -> None:
    """Raise DeployError if the revision at a tag's URL must not get traffic."""
    failed = [
        f"{name} ({message})" for name, message in results(revision_checks(role, url)) if message
    ]
    if failed:
        raise DeployError(
            f"traffic/{role}: the new revision at {url} fails: {'; '.join(failed)}. The old one keeps "
            "the traffic; mend it, then run `apply` again."
        )


def results(wanted: Iterable[StageCheck]) -> Iterator[tuple[str, str]]:
    """Run checks, some at once; yield the name of each in order, and what failed or an empty text.

    A check mostly waits for the service.
    """
    found = list(wanted)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from zip((check.name for check in found), pool.map(_failure, found), strict=True)


def _failure(check: StageCheck) -> str:
    """Run a check; return what failed or an empty text."""
    try:
        with explained("Google"):
            check.run()
    except (CheckFailed, DeployError) as error:
        return str(error)
    except requests.RequestException as error:
        return f"no answer: {type(error).__name__}"
    return ""


def expect(url: str, path: str, status: int, token: str = "") -> None:
    """Raise CheckFailed if a path is answered with another status; redirects are not followed."""
    answer = requests.get(
        f"{url}{path}",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        timeout=_REQUEST_SECONDS,
        allow_redirects=False,
    )
    if answer.status_code != status:
        raise CheckFailed(f"{url}{path} answers {answer.status_code}, not {status}")


def _call_as(layout: Layout, caller: str) -> None:
    """Call the worker with an ID token of an account that may."""
    expect(layout.names.worker_url, "/health/", 200, _token(layout, caller))


def _ask_access(layout: Layout, url: str) -> None:
    """Let a service try everything that it uses. Raises CheckFailed with what it lacks."""
    access = _asked(layout, f"{url}/internal/access/")["access"]
    if lacks := [f"{name}: {text}" for name, text in access.items() if text]:
        raise CheckFailed("; ".join(lacks))


def _asked(layout: Layout, url: str) -> dict[str, Any]:
    """Return the answer to a question of the scheduler's account. Raises CheckFailed."""
    answer = requests.post(
        url,
        headers={"Authorization": f"Bearer {_token(layout, 'scheduler')}"},
        timeout=_REQUEST_SECONDS,
        allow_redirects=False,
    )
    if answer.status_code != 200:
        raise CheckFailed(f"{answer.url} answers {answer.status_code}: {answer.text:.200}")
    found: dict[str, Any] = answer.json()
    return found


def _find_custom_secrets(layout: Layout) -> None:
    """Raise CheckFailed for a secret without a value, and for one that a job names and nobody can read."""
    for number in layout.stage.custom_secrets:
        for secret in layout.data.custom_secrets(number):
            if not secret.latest():
                raise CheckFailed(
                    f"{secret.address} has no value: `python -m deploy secrets set {layout.stage.name}"
                    f" {secret.name}` gives it one"
                )
    cloud = layout.cloud
    for job in cloud.jobs.list_jobs(parent=cloud.location):
        name = job.name.rpartition("/")[2]
        is_custom = name.startswith(layout.stage.named("custom-"))
        for variable in job.template.template.containers[0].env if is_custom else ():
            wanted = variable.value_source.secret_key_ref
            if wanted.secret and not _is_enabled(cloud, wanted):
                raise CheckFailed(
                    f"{name} needs version {wanted.version} of the secret"
                    f" {wanted.secret} as {variable.name}, which is missing or disabled: enter another"
                    " version on the page of the validator, or delete the job if nobody needs it"
                )


def _is_enabled(cloud: GoogleCloud, wanted: run_v2.SecretKeySelector) -> bool:
    secret = f"projects/{cloud.project}/secrets/{wanted.secret.rpartition('/')[2]}"
    try:
        found = cloud.secrets.get_secret_version(name=f"{secret}/versions/{wanted.version}")
    except NotFound:
        return False
    return bool(found.state == secretmanager_v1.SecretVersion.State.ENABLED)


def _token(layout: Layout, caller: str) -> str:
    """Return an ID token of an account for the worker."""
    account = layout.names.account(caller)
    with explained(f"account/{layout.stage.named(caller)}"):
        answer = layout.cloud.tokens.generate_id_token(
            name=f"projects/-/serviceAccounts/{account}",
            audience=layout.names.worker_url,
            include_email=True,
        )
    return str(answer.token)


def workflows(only: Sequence[str], skipped: Sequence[str] = ()) -> list[str]:
    """Return the workflows in `only`, without it those of the gallery that are not in `skipped`.

    Raises DeployError for an unknown one.
    """
    known = [path.parent.name for path in sorted(_GALLERY.glob("*/workflow.yaml"))]
    for slug in only:
        if slug not in known:
            raise DeployError(
                f"--workflow has the unknown workflow {slug!r:.60}; known are {', '.join(known)}."
            )
    return list(only) or [slug for slug in known if slug not in skipped]


def workflows_without_model(layout: Layout, org: str) -> tuple[list[str], str]:
    """Return the workflows that ask a language model and the reason, if they cannot.

    The running stage is asked, because people give it a model in the admin site, and organisations
    have models of their own.
    """
    question = f"{layout.names.worker_url}/internal/access/?{urlencode({'org': org})}"
    try:
        # A version before this question makes its checks, and has the model of the stage file.
        has_model = _asked(layout, question).get(
            "language_model", "AI_ENDPOINT_URL" in (*layout.stage.env, *layout.stage.secrets)
        )
        reason = f"neither the site nor {org} has a language model"
    except (CheckFailed, DeployError, requests.RequestException) as error:
        has_model, reason = (
            False,
            f"the worker does not tell whether it has a language model ({error})",
        )
    if has_model:
        return [], ""
    files = sorted(_GALLERY.glob("*/workflow.yaml"))
    asking = [
        path.parent.name for path in files if "validator: ai-review" in path.read_text("utf-8")
    ]
    return asking, reason


def _samples(slugs: Sequence[str]) -> list[Path]:
    """Return the first passing sample of each of these workflows of the gallery."""
    found = []
    for slug in slugs:
        path = _GALLERY / slug / "workflow.yaml"
        samples = yaml.safe_load(path.read_text(encoding="utf-8"))["samples"]
        found.append(path.parent / next(s["path"] for s in samples if s.get("passes", True)))
    return found


def _launch(url: str, launches: Launches, sample: Path, *, padding: int = 0) -> None:
    """Launch a seeded workflow with its passing sample and `padding` spaces, and wait until the run passed."""
    api = f"{url}/api/v1/orgs/{launches.org}"
    key = {"Authorization": f"Bearer {launches.api_key}"}
    answer = requests.post(
        f"{api}/workflows/{sample.parent.name}/runs/",
        data=sample.read_bytes() + b" " * padding,
        headers={**key, "X-Filename": sample.name, "Content-Type": "application/octet-stream"},
        timeout=_REQUEST_SECONDS,
    )
    if answer.status_code not in (201, 202):
        raise CheckFailed(f"the launch is answered {answer.status_code}: {answer.text:.200}")
    where = f"{api}/runs/{answer.json()['id']}/"

    def ended() -> dict[str, Any] | None:
        run: dict[str, Any] = requests.get(where, headers=key, timeout=_REQUEST_SECONDS).json()
        return run if run.get("state") == "COMPLETED" else None

    run = wait_for(ended, seconds=launches.seconds)
    if run is None:
        raise CheckFailed(f"the run {where} did not end within {launches.seconds:.0f} s")
    if run["result"] != "PASS":
        raise CheckFailed(f"the run {where} has the result {run['result']}")


def wait_for[T](question: Callable[[], T | None], *, seconds: float) -> T | None:
    """Ask until there is an answer; return None if there is none in time."""
    end = time.monotonic() + seconds
    while (answer := question()) is None and time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)
    return answer
