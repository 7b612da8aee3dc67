"""The emulated Google Cloud: services that know only the common ground, and their one server."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devenv.gcp.cloud import Cloud

__all__ = ["Cloud"]


def __getattr__(name: str) -> Any:
    # A program that needs only the configuration must not load gRPC and Google's clients.
    if name == "Cloud":
        from devenv.gcp.cloud import Cloud  # noqa: PLC0415

        return Cloud
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
