"""Contract of sign-in by OpenID Connect: the product's client and the provider of the stack."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from devenv.secrets import OIDC_CLIENT_SECRET, Secrets
from tests.factories import InvitationFactory
from tests.ports import free_port
from tests.waiting import until
from validibot.accounts.models import Organisation, User
from validibot.core.models import SignUp, SiteSettings

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("sign_in")]

type Commits = Callable[..., AbstractContextManager[list[object]]]
LOGIN = "/accounts/oidc/sso/login/"
CALLBACK = f"http://testserver{LOGIN}callback/"


@dataclass(frozen=True)
class LocalProvider:
    """The provider in a process of its own, and the way through its page."""

    url: str
    secret: str

    def sign_in(
        self, browser: Client, email: str, *, process: str = "", **form: str
    ) -> HttpResponse:
        """Return the product's answer to the callback after a choice on the page."""
        query = f"?process={process}" if process else ""
        asked = browser.post(f"{LOGIN}{query}")
        page = httpx.get(asked.headers["Location"])
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        fields.pop("name"), fields.pop("email_verified", None)
        sent = {**fields, "email": email, "email_verified": "on", **form}
        decided = httpx.post(f"{self.url}/authorize", data=sent)
        answer = browser.get(decided.headers["location"])
        assert isinstance(answer, HttpResponse)
        return answer


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalProvider]:
    state = tmp_path_factory.mktemp("oidc")
    port = str(free_port())
    secret = Secrets.load(state / "secrets.env", {})[OIDC_CLIENT_SECRET]
    command = [sys.executable, "-m", "devenv.oidc", "--state", str(state), "--port", port]
    command += ["--client-id", "validibot", "--redirect-uri", CALLBACK, "--people"]
    running = subprocess.Popen([*command, '[{"email": "ada@example.org", "name": "Ada"}]'])
    url = f"http://localhost:{port}"
    until(lambda: httpx.get(f"{url}/health").is_success, forgive=httpx.HTTPError)
    yield LocalProvider(url, secret)
    running.terminate()
    running.wait()


@pytest.fixture
def provider(process: LocalProvider, settings: Settings, socket_enabled: None) -> LocalProvider:
    configured: Any = {
        "provider_id": "sso",
        "name": "the local provider",
        "client_id": "validibot",
        "secret": process.secret,
        "settings": {"server_url": process.url, "oauth_pkce_enabled": True},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [configured]}}
    return process


def _signed_in(browser: Client) -> str:
    """Return the address of the profile page, "" if nobody is signed in."""
    shown = browser.get("/app/users/profile/")
    found = re.search(r'class="lead">([^<]+)<', shown.content.decode())
    return found[1] if found else ""


def _ada(*, verified: bool = True) -> User:
    user = User.objects.create_user("ada@example.org", "s3cret-long")
    EmailAddress.objects.create(user=user, email=user.email, verified=verified, primary=True)
    return user


def test_new_person_gets_account_with_workspace(provider: LocalProvider) -> None:
    browser = Client()

    provider.sign_in(browser, "Ada@example.org", name="Ada Example")

    user = User.objects.get(email="ada@example.org")
    assert (_signed_in(browser), user.name) == ("ada@example.org", "Ada Example")
    assert Organisation.objects.filter(personal_owner=user).exists()
    assert not user.has_usable_password()


def test_second_sign_in_finds_same_account_after_change_of_address(provider: LocalProvider) -> None:
    provider.sign_in(Client(), "ada@example.org")
    User.objects.update(email="ada@example.net")
    browser = Client()

    provider.sign_in(browser, "ada@example.org")

    assert (_signed_in(browser), User.objects.count()) == ("ada@example.net", 1)


@pytest.mark.parametrize("verified", ["on", "off"])
def test_existing_account_is_linked_by_verified_address_only(
    provider: LocalProvider, verified: str
) -> None:
    ada, browser = _ada(), Client()

    provider.sign_in(browser, ada.email, email_verified=verified)

    linked = verified == "on"
    assert bool(_signed_in(browser)) == linked
    assert SocialAccount.objects.filter(user=ada).exists() == linked
    assert User.objects.count() == 1


def test_account_with_unverified_address_loses_its_password_when_linked(
    provider: LocalProvider,
) -> None:
    """Somebody may have signed up with an address of another person before."""
    ada, browser = _ada(verified=False), Client()

    provider.sign_in(browser, ada.email)

    ada.refresh_from_db()
    assert not (_signed_in(browser) and ada.has_usable_password())


def test_links_by_address_can_be_switched_off(provider: LocalProvider, settings: Settings) -> None:
    settings.SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
    ada, browser = _ada(), Client()

    provider.sign_in(browser, ada.email)

    assert (_signed_in(browser), SocialAccount.objects.exists()) == ("", False)


def test_unverified_address_of_provider_is_verified_by_mail(
    provider: LocalProvider, django_capture_on_commit_callbacks: Commits
) -> None:
    browser = Client()
    with django_capture_on_commit_callbacks(execute=True):
        answer = provider.sign_in(browser, "eve@example.org", email_verified="off")

    assert (answer.headers["Location"], _signed_in(browser)) == ("/accounts/confirm-email/", "")
    assert mail.outbox[0].to == ["eve@example.org"]


def test_second_factor_is_asked_after_provider(provider: LocalProvider) -> None:
    ada, browser = _ada(), Client()
    Authenticator.objects.create(user=ada, type=Authenticator.Type.TOTP, data={"secret": "A" * 16})

    answer = provider.sign_in(browser, ada.email)

    assert (answer.headers["Location"], _signed_in(browser)) == ("/accounts/2fa/authenticate/", "")


@pytest.mark.parametrize(
    ("setting", "invited", "accounts"),
    [
        (SignUp.CLOSED, "ada@example.org", 0),
        (SignUp.INVITATION, "", 0),
        (SignUp.INVITATION, "ben@example.org", 0),
        (SignUp.INVITATION, "ada@example.org", 1),
    ],
)
def test_sign_up_by_provider_obeys_site_settings(
    provider: LocalProvider, setting: SignUp, invited: str, accounts: int
) -> None:
    SiteSettings.objects.create(sign_up=setting)
    if invited:
        InvitationFactory.create(invited_by=None, email=invited)
    browser = Client()
    session = browser.session
    session["invited_email"] = invited
    session.save()

    provider.sign_in(browser, "ada@example.org")

    assert User.objects.count() == accounts


def test_signed_in_user_links_account_after_password(provider: LocalProvider) -> None:
    ada, browser = _ada(), Client()
    browser.force_login(ada)
    asked = provider.sign_in(browser, "other@example.net", process="connect")
    before = SocialAccount.objects.count()

    browser.post(asked.headers["Location"], {"password": "s3cret-long"})

    assert (before, SocialAccount.objects.get().user) == (0, ada)


def test_cancel_at_provider_leads_to_page(provider: LocalProvider) -> None:
    browser = Client()

    answer = provider.sign_in(browser, "ada@example.org", decision="cancel")

    assert answer.headers["Location"] == "/accounts/3rdparty/login/cancelled/"


@pytest.mark.parametrize("query", ["", "?code=x", "?code=x&state=y", "?error=%00", "?state=y"])
def test_callback_without_request_is_refused_on_a_page(provider: LocalProvider, query: str) -> None:
    answer = Client().get(f"{LOGIN}callback/{query}")

    assert answer.status_code in {302, 401}
    assert not User.objects.exists()


def test_unreachable_provider_is_told_on_a_page(
    provider: LocalProvider, settings: Settings
) -> None:
    settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]["settings"]["server_url"] = (
        "http://localhost:1"
    )

    answer = Client().post(LOGIN)

    assert answer.status_code == 503
    assert "cannot be reached" in answer.content.decode()


def test_unknown_provider_returns_404(provider: LocalProvider) -> None:
    assert Client().post("/accounts/oidc/other/login/").status_code == 404
