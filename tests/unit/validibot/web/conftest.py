"""Fixtures of the tests of pages."""

import pytest
from django.test import Client

from tests.factories import MembershipFactory
from validibot.accounts.models import Membership


@pytest.fixture
def member(client: Client) -> Membership:
    """A membership whose user is signed in to `client`."""
    membership: Membership = MembershipFactory.create()
    client.force_login(membership.user)
    return membership
