"""The site setting of sign-up, and invitations."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import InvitationFactory, UserFactory
from validibot.accounts.models import User
from validibot.core.models import SignUp, SiteSettings

pytestmark = pytest.mark.django_db

PASSWORD = "s3cret-long"


def _sign_up(client: Client, email: str) -> str:
    form = {"email": email, "password1": PASSWORD, "password2": PASSWORD}
    return client.post("/accounts/signup/", form).content.decode()


def _invited(email: str) -> Client:
    client = Client()
    session = client.session
    session["invited_email"] = email
    session.save()
    return client


def test_signup_is_open_without_settings() -> None:
    _sign_up(Client(), "ann@example.org")

    assert User.objects.filter(email="ann@example.org").exists()


@pytest.mark.parametrize("setting", [SignUp.CLOSED, SignUp.INVITATION])
def test_signup_without_invitation_is_refused_unless_open(setting: SignUp) -> None:
    SiteSettings.objects.create(sign_up=setting)

    shown = _sign_up(Client(), "ann@example.org")

    assert "sign-up is" in shown.lower()
    assert not User.objects.exists()
    assert "/accounts/signup/" not in Client().get("/accounts/login/").content.decode()


def test_closed_signup_refuses_invited_address() -> None:
    SiteSettings.objects.create(sign_up=SignUp.CLOSED)

    _sign_up(_invited("ann@example.org"), "ann@example.org")

    assert not User.objects.exists()


@pytest.mark.parametrize(("email", "accounts"), [("Ann@example.org", 1), ("bob@example.org", 0)])
def test_invitation_lets_only_its_address_sign_up(email: str, accounts: int) -> None:
    InvitationFactory.create(invited_by=None, email="ann@example.org")
    SiteSettings.objects.create(sign_up=SignUp.INVITATION)

    shown = _sign_up(_invited("ann@example.org"), email)

    assert User.objects.count() == accounts
    assert ("You were invited as ann@example.org" in shown) == (not accounts)


@pytest.mark.parametrize("ended", ["revoked_at", "accepted_at", "expires_at"])
def test_ended_invitation_does_not_open_sign_up(ended: str) -> None:
    SiteSettings.objects.create(sign_up=SignUp.INVITATION)
    InvitationFactory.create(invited_by=None, email="ann@example.org", **{ended: timezone.now()})

    _sign_up(_invited("ann@example.org"), "ann@example.org")

    assert not User.objects.exists()


def test_banner_is_escaped_on_every_page() -> None:
    SiteSettings.objects.create(banner="Closed on <b>Monday</b>")

    for path in ("/accounts/login/", "/nowhere/"):
        shown = Client(headers={"Accept": "text/html"}).get(path).content.decode()
        assert "Closed on &lt;b&gt;Monday&lt;/b&gt;" in shown


def test_admin_list_of_site_settings_opens_the_one_form(client: Client) -> None:
    client.force_login(UserFactory.create(is_staff=True, is_superuser=True))

    form = client.get(reverse("admin:core_sitesettings_changelist"), follow=True)
    client.post(form.redirect_chain[-1][0], {"sign_up": "closed", "banner": "Hello"})

    row = SiteSettings.objects.get()
    assert (row.sign_up, row.banner) == ("closed", "Hello")
    assert client.get(reverse("admin:core_sitesettings_add")).status_code == 403
