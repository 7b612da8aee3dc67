"""The stand-in for the package `modal` against the package itself, where it is installed.

pip install --require-hashes -r requirements/modal.txt
"""

import inspect
from typing import Any

import pytest

from tests import stand_in_modal

modal: Any = pytest.importorskip("modal", reason="The extra `modal` is not installed")
CALLED = (
    "App.function",
    "App.deploy",
    "Function.from_name",
    "Function.hydrate",
    "Function.with_options",
    "Function.spawn",
    "FunctionCall.from_id",
    "FunctionCall.get",
    "FunctionCall.cancel",
    "Image.from_registry",
    "Image.entrypoint",
    "Secret.from_name",
    "current_function_call_id",
)
# The stand-in has those options only that we use.
SELECTED = ("App.function", "Function.with_options")


def parameters(module: Any, name: str) -> dict[str, tuple[Any, Any]]:
    """Return kind and default of each parameter of a function or method."""
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    signature = inspect.signature(found)
    return {
        each.name: (each.kind, each.default)
        for each in signature.parameters.values()
        if each.name not in ("self", "cls")  # the package shows one that is filled
    }


@pytest.mark.parametrize("name", CALLED)
def test_stand_in_has_signature_of_package(name: str) -> None:
    ours, theirs = parameters(stand_in_modal, name), parameters(modal, name)

    if name in SELECTED:
        theirs = {each: kind for each, kind in theirs.items() if each in ours}
    assert ours == theirs


@pytest.mark.parametrize("name", sorted(vars(stand_in_modal.exception)))
def test_stand_in_has_errors_of_package(name: str) -> None:
    ours, theirs = getattr(stand_in_modal.exception, name), getattr(modal.exception, name)

    known = set(vars(stand_in_modal.exception))
    assert {each.__name__ for each in ours.__mro__} & known == (
        {each.__name__ for each in theirs.__mro__} & known
    )
