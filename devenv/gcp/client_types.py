"""Message types of Google's client packages, imported without the clients.

The `__init__` of `google.cloud.run_v2` imports all its clients, which takes most of the time and
memory of its import, and the emulated cloud calls none of them. The packages stay usable as a whole:
the first access to another name of one runs its `__init__`. Nor does it need grpcio, which the messages of
long-running operations import for their stubs.
"""

import importlib
import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

_OPERATIONS = "google.longrunning.operations_pb2"
_lock = threading.RLock()
_waiting: set[str] = set()


def client_types(package: str) -> Any:
    """Return the module with the messages of a package, e.g. of `google.cloud.run_v2`."""
    with _lock:
        if _OPERATIONS not in sys.modules:
            _defer_stubs()
        if package not in sys.modules:
            _defer(package)
    return importlib.import_module(f"{package}.types")


class _DeferredPackage(ModuleType):
    """A package whose `__init__` runs at the first access to a name that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        with _lock:
            if self.__name__ in _waiting:
                # A module of the package may ask for another one before the package is complete.
                inner = f"{self.__name__}.{name}"
                if importlib.util.find_spec(inner):
                    return importlib.import_module(inner)
                _run(self)
        return ModuleType.__getattribute__(self, name)


class _Operations(ModuleType):
    """The messages of long-running operations, and their gRPC stubs for whoever asks for one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("google.longrunning.operations_grpc_pb2"), name)


def _defer_stubs() -> None:
    module = _Operations(_OPERATIONS, _Operations.__doc__)
    parent, _, name = _OPERATIONS.rpartition(".")
    messages = importlib.import_module(f"{parent}.operations_proto_pb2")
    module.__dict__.update({k: v for k, v in vars(messages).items() if k[:2] != "__"})
    sys.modules[_OPERATIONS] = module
    setattr(sys.modules[parent], name, module)


def _defer(package: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _DeferredPackage
    sys.modules[package] = module
    parent, _, name = package.rpartition(".")
    setattr(sys.modules[parent], name, module)
    _waiting.add(package)


def _run(module: ModuleType) -> None:
    _waiting.discard(module.__name__)
    loader = module.__spec__.loader if module.__spec__ else None
    assert loader is not None
    try:
        loader.exec_module(module)
    except BaseException:
        _waiting.add(module.__name__)
        raise
