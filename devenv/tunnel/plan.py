"""What tunnel mode does to the world, told without doing it."""

from collections.abc import Iterator
from dataclasses import dataclass

from devenv.tunnel import doors, google
from devenv.tunnel.config import TunnelConfig
from devenv.tunnel.google import Call
from devenv.tunnel.providers import make

UNKNOWN = "https://<the tunnel>"


@dataclass(frozen=True, slots=True)
class Step:
    """`when` it happens and `why`."""

    when: str
    why: str
    call: Call


def command(config: TunnelConfig) -> tuple[str, ...]:
    """Return the tunnel program's command line; without a fixed port, 0 stands for the gate's."""
    return make(config).command(port=config.port)


def steps(config: TunnelConfig) -> list[Step]:
    """Return every kind of call to Google, in the order in which a run makes them."""
    return [*_before(config), *_run(config)]


def _before(config: TunnelConfig) -> Iterator[Step]:
    origin = config.url or UNKNOWN
    yield Step("preflight", "compare clocks", Call("GET", google.CERTIFICATES))
    for need in google.needs(config):
        yield Step("preflight", f"rights on {need.resource}", need.call)
    token = google.id_token(config.tasks_account, origin)
    yield Step("preflight", "a real token for the gate", token)


def _run(config: TunnelConfig) -> Iterator[Step]:
    place = f"projects/{config.project}/locations/{config.region}"
    origin = config.url or UNKNOWN
    bucket = f"https://storage.googleapis.com/upload/storage/v1/b/{config.bucket}/o"
    objects = f"https://storage.googleapis.com/storage/v1/b/{config.bucket}/o"
    yield Step("each run", "store the submission", Call("POST", f"{bucket}?ifGenerationMatch=0"))
    yield Step(
        "each run",
        "put it on the queue (gRPC)",
        Call(
            "POST",
            f"https://cloudtasks.googleapis.com/v2/{place}/queues/{config.queue}/tasks",
            {
                "task": {
                    "httpRequest": {
                        "url": origin + doors.TASKS,
                        "oidcToken": {
                            "serviceAccountEmail": config.tasks_account,
                            "audience": origin,
                        },
                    }
                }
            },
        ),
    )
    yield Step("each attempt", "store the envelope", Call("POST", f"{bucket}?ifGenerationMatch=0"))
    overrides = {"overrides": {"containerOverrides": [{"env": [{"name": "VALIDIBOT_INPUT_URI"}]}]}}
    for job in config.jobs:
        url = f"https://run.googleapis.com/v2/{place}/jobs/{job}"
        yield Step(
            "each attempt", "start the validator (gRPC)", Call("POST", f"{url}:run", overrides)
        )
        listed = f"{url}/executions"
        yield Step("while it runs", "look at executions (gRPC)", Call("GET", listed))
        yield Step("on cancel", "stop it (gRPC)", Call("POST", f"{listed}/<id>:cancel"))
    yield Step("each callback", "read the output", Call("GET", f"{objects}/<name>?alt=media"))
    yield Step("each token", "certificates, kept", Call("GET", google.CERTIFICATES))
