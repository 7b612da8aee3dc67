"""Shared parts of the methods of Pub/Sub: names, permissions, and resources that must exist."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from devenv.gcp.caller import ApiCaller, Guard, Minter
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from devenv.gcp.messages import masked, page
from devenv.gcp.pubsub.broker import Broker
from devenv.gcp.pubsub.rules import PubSubNames
from devenv.gcp.pubsub.state import LiveSnapshot, LiveSubscription, LiveTopic
from devenv.gcp.rpc import Handler, HttpRule, Rpc

types = client_types("google.pubsub_v1")

_MOST_PAGE = 1000
_Live = TypeVar("_Live")


@dataclass(frozen=True, slots=True, kw_only=True)
class PubSubContext:
    """The parts of the service, and the questions that every method asks."""

    config: CloudConfig
    names: PubSubNames
    guard: Guard
    minter: Minter
    clock: Clock
    broker: Broker
    agent: ApiCaller

    def topic(self, name: str) -> LiveTopic:
        """Return the topic of a full name. Raises NotFound."""
        return _existing(self.broker.saved.topics, name)

    def subscription(self, name: str) -> LiveSubscription:
        """Return the subscription of a full name. Raises NotFound."""
        return _existing(self.broker.saved.subscriptions, name)

    def snapshot(self, name: str) -> LiveSnapshot:
        """Return the snapshot of a full name. Raises NotFound."""
        self.broker.expire_snapshots()
        return _existing(self.broker.saved.snapshots, name)

    def allow(self, caller: ApiCaller, permission: str, resource: str) -> None:
        """Raise PermissionDenied unless the caller has `pubsub.<permission>` on the resource."""
        self.guard.require(caller, f"pubsub.{permission}", resource)

    def check_agent(self, permission: str, resource: str) -> None:
        """Raise PermissionDenied unless the account of Pub/Sub itself has a permission."""
        self.guard.require(self.agent, permission, resource)


def _existing(known: dict[str, _Live], name: str) -> _Live:
    if name not in known:
        raise NotFound(f"Resource not found (resource={name.rpartition('/')[2]}).")
    return known[name]


def require_new(known: Mapping[str, object], name: str, *, most: int) -> None:
    """Raise AlreadyExists or ResourceExhausted unless a new resource can have this name."""
    if name in known:
        short = name.rpartition("/")[2]
        raise AlreadyExists(f"Resource already exists in the project (resource={short}).")
    if len(known) >= most:
        kind = name.split("/")[2]
        raise ResourceExhausted(f"The project has {most} {kind} already; delete some first.")


def page_of(names: Iterable[str], request: Any) -> tuple[list[str], str]:
    """Return the names of the page that a request asks for, and the token of the next one."""
    return page(names, size=request.page_size, token=request.page_token, most=_MOST_PAGE)


def changed(state: Any, wanted: Any, mask: Any, *, immutable: set[str]) -> Any:
    """Return a resource with the fields of an update mask replaced. Raises InvalidArgument."""
    if not mask.paths:
        raise InvalidArgument("The update_mask in the request is empty: it must name a field.")
    for path in mask.paths:
        if path.partition(".")[0] in immutable:
            raise InvalidArgument(
                f"Invalid update_mask provided in the request: {path!r} is not a known Updatable "
                "field. Note that field paths must be of the form foo_bar rather than fooBar."
            )
    merged = type(state)()
    merged.CopyFrom(masked(state, wanted, mask))
    return merged


def method(service: str, name: str, response: Any, handle: Handler, *rules: HttpRule) -> Rpc:
    """Return a method of google.pubsub.v1 whose request is named as in the published API."""
    request = _REQUESTS.get(name, f"{name}Request")
    return Rpc(
        f"google.pubsub.v1.{service}/{name}", getattr(types, request).pb(), response, handle, rules
    )


# Methods that take the resource itself.
_REQUESTS = {"CreateTopic": "Topic", "CreateSubscription": "Subscription"}
