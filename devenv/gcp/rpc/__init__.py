"""Methods that are served by gRPC and REST alike.

A service offers `Rpc`s: a handler that takes and returns protocol buffers, with the HTTP rules of
Google's published API. A `StreamRpc` has streams of them, by gRPC alone. `calls` authenticates and
records each call; `grpc_server` serves the methods by gRPC, `rest` by HTTP and JSON, and `hosts` tells
at which host.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from starlette.types import ASGIApp

from devenv.gcp.caller import ApiCall

Handler: TypeAlias = Callable[[Any, ApiCall], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class HttpRule:
    """A google.api.http rule, e.g. `HttpRule("POST", "/v2/{name=projects/*/locations/*/jobs/*}:run", "*")`.

    `body` is the request field that the JSON body fills, `*` for the whole request, empty for none.
    """

    verb: str
    uri: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Rpc:
    """A unary method: `method` is `google.cloud.run.v2.Jobs/RunJob`; types are raw protobuf classes.

    The server parses the request, authenticates the caller and calls `handle(request, call)`,
    which returns a `response` message or raises a CloudError. `unpublished` are JSON names that
    Google accepts and the published request does not have.
    """

    method: str
    request: type[Message]
    response: type[Message]
    handle: Handler
    bindings: tuple[HttpRule, ...] = ()
    unpublished: frozenset[str] = frozenset()

    @property
    def has_grpc(self) -> bool:
        """Whether gRPC serves the method: not one whose answers are JSON without a published type."""
        return self.response is not Struct


@dataclass(frozen=True, slots=True)
class StreamRpc:
    """A method with a stream of requests and one of answers, which gRPC alone serves.

    `handle(requests, call)` yields `response` messages or raises a CloudError.
    """

    method: str
    request: type[Message]
    response: type[Message]
    handle: Callable[[AsyncIterator[Any], ApiCall], AsyncGenerator[Message, None]]
    has_grpc: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class HttpMount:
    """A plain HTTP service.

    `hosts` are fnmatch patterns (`*.run.app`); `paths` are the prefixes by which it is found there,
    and on the plain port, where clients send no Google host name. One that `takes_rest` serves
    every other path at its hosts, too. `method` names the method of a request by its verb and path,
    for the journal and the faults; `methods` are all names.
    """

    hosts: tuple[str, ...]
    app: ASGIApp
    paths: tuple[str, ...] = ()
    method: Callable[[str, str], str] = "{} {}".format
    methods: tuple[str, ...] = ()
    takes_rest: bool = False
