"""Factories make rows that production could have."""

from typing import Any

import pytest
from factory.django import DjangoModelFactory

from tests import factories
from validators.sdk.manifest import AcceptedFileType

pytestmark = pytest.mark.django_db

FACTORIES = [
    each
    for each in vars(factories).values()
    if isinstance(each, type) and issubclass(each, DjangoModelFactory) and each._meta.model
]


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_factory_row_passes_full_clean(factory: type[DjangoModelFactory[Any]]) -> None:
    factory.create().full_clean()


def test_container_validator_passes_full_clean() -> None:
    factories.ValidatorFactory.create(container=True).full_clean()


@pytest.mark.parametrize("container", [False, True])
def test_validator_accepts_file_types_that_a_manifest_may_name(container: bool) -> None:
    validator = factories.ValidatorFactory.create(container=container)

    assert [AcceptedFileType(**accepted) for accepted in validator.accepts]
