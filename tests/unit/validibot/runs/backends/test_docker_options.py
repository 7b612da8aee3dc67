"""OPTIONS of the Docker backend."""

from typing import Any, cast

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from containers import ContainerEngine, EngineUnavailable, Network
from validators.sdk.manifest import NetworkReach
from validibot.runs.backends import check_backends, get_backend
from validibot.runs.backends.base import ImageNeeds
from validibot.runs.backends.docker import DockerBackend
from validibot.runs.backends.docker.backend import DockerOptions


def configure(settings: Settings, **options: Any) -> None:
    settings.EXECUTION_BACKENDS = {
        "default": {"BACKEND": "validibot.runs.backends.docker.DockerBackend", "OPTIONS": options}
    }


def complaints(settings: Settings, **options: Any) -> list[tuple[str | None, str]]:
    configure(settings, **options)
    return [(message.id, str(message.msg)) for message in check_backends()]


@pytest.fixture
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContainerEngine, "ping", lambda self: None)


@pytest.mark.usefixtures("_engine")
def test_every_option_has_a_default(settings: Settings) -> None:
    assert complaints(settings, allow_without_debug=True) == []


@pytest.mark.usefixtures("_engine")
def test_serving_without_debug_needs_option(settings: Settings) -> None:
    assert [pk for pk, _ in complaints(settings)] == ["validibot.runs.E002"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "host"),
        ("network_name", 1),
        ("memory_mb", 0),
        ("memory_mb", "1g"),
        ("cpus", -1),
        ("cpus", float("inf")),
        ("output_mb", 1.5),
        ("user", "root"),
        ("user", "1000"),
        ("owner", "Me & you"),
        ("environ", {"A": 1}),
        ("allow_without_debug", "yes"),
    ],
)
def test_invalid_option_error_names_option_and_value(
    settings: Settings, name: str, value: Any
) -> None:
    [(pk, said)] = complaints(settings, **{name: value})

    assert pk == "validibot.runs.E001"
    assert f"OPTIONS: {name}" in said
    assert repr(next(iter(value.values())) if isinstance(value, dict) else value) in said


def test_unknown_option_error_lists_known_ones(settings: Settings) -> None:
    configure(settings, privileged=True)

    with pytest.raises(ImproperlyConfigured, match=r"unknown option 'privileged'. Known options: "):
        get_backend()


def test_data_root_must_be_a_local_folder(settings: Settings) -> None:
    settings.DATA_ROOT = "gs://bucket"

    said = complaints(settings, allow_without_debug=True)

    assert [pk for pk, _ in said] == ["validibot.runs.E003"]


def test_missing_engine_is_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(self: ContainerEngine) -> None:
        raise EngineUnavailable("No answer.")

    monkeypatch.setattr(ContainerEngine, "ping", silent)

    [(pk, said)] = complaints(settings, allow_without_debug=True)

    assert (pk, said) == (
        "validibot.runs.W001",
        "EXECUTION_BACKENDS['default']: No answer.",
    )


def test_default_owner_depends_on_data_root(settings: Settings) -> None:
    settings.DATA_ROOT = "file:///srv/one"
    one = DockerOptions().owner
    settings.DATA_ROOT = "file:///srv/two"

    assert DockerOptions().owner != one


NONE, PLATFORM, INTERNET = NetworkReach


@pytest.mark.parametrize(
    ("given", "wanted", "network"),
    [
        ("callback", None, "callback"),
        ("none", PLATFORM, "none"),
        ("open", PLATFORM, "callback"),
        ("open", INTERNET, "open"),
        ("open", NONE, "none"),
        ("callback", INTERNET, ""),
        ("none", INTERNET, ""),
    ],
)
def test_container_gets_the_wanted_network_or_is_refused(
    settings: Settings, given: str, wanted: NetworkReach | None, network: str
) -> None:
    environ = {"WORKER_API_KEY": "k", "SENTRY_DSN": "d", "OTHER": "o"}
    configure(settings, network=given, environ=environ)
    backend = cast("DockerBackend", get_backend())

    refused = [*backend.refusals(ImageNeeds(organisation="1", network=wanted))]

    assert [text.split(",")[0] for text in refused] == (
        [] if network else ["`network` is 'internet'"]
    )
    if network:
        assert backend._network(wanted) == network
        assert backend.calls_back(wanted) == (network != "none")
        kept = {"none": {"OTHER"}, "callback": {"OTHER", "WORKER_API_KEY"}}
        assert {*backend._environ(Network(network))} == kept.get(network, {*environ})


@pytest.mark.parametrize("name", ["subprocess.SubprocessBackend", "mock.MockBackend"])
def test_only_backends_of_images_take_custom_validators(settings: Settings, name: str) -> None:
    settings.EXECUTION_BACKENDS = {"default": {"BACKEND": f"validibot.runs.backends.{name}"}}

    refused = [*get_backend().refusals(ImageNeeds(organisation="1", network=NONE, secrets=["A"]))]

    assert bool(refused) == name.startswith("subprocess")
