"""Pages of an account: profile, export, deletion, second factor, sessions."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.core import mail
from django.test import Client
from pytest_django import Settings

from tests.downloads import streamed
from tests.factories import MembershipFactory, OrganisationFactory, RunFactory, UserFactory
from validibot.accounts.middleware import ACTIVITY_INTERVAL
from validibot.accounts.models import Organisation, Role, User
from validibot.accounts.workspaces import ensure_personal_workspace
from validibot.web.templatetags.components import browser_name

pytestmark = pytest.mark.django_db

type Commits = Callable[..., AbstractContextManager[list[object]]]
PASSWORD = "s3cret-long"
SECRET = "JBSWY3DPEHPK3PXP"


@pytest.fixture
def ann() -> User:
    user = User.objects.create_user("ann@example.org", PASSWORD)
    ensure_personal_workspace(user)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def _sign_in(user: User, **client: Any) -> Client:
    browser = Client(**client)
    browser.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    return browser


def _confirmed(user: User) -> Client:
    """Return a browser whose user has given the password for a sensitive change."""
    browser = _sign_in(user)
    browser.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return browser


def _code(secret: str = SECRET) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


@pytest.mark.parametrize(
    "path",
    [
        "/app/users/profile/",
        "/app/users/data/",
        "/app/users/delete/",
        "/app/users/api-key/",
        "/accounts/email/",
        "/accounts/password/change/",
        "/accounts/2fa/",
        "/accounts/2fa/totp/activate/",
        "/accounts/2fa/webauthn/",
        "/accounts/2fa/webauthn/add/",
        "/accounts/3rdparty/",
        "/accounts/sessions/",
    ],
)
def test_settings_page_has_the_side_navigation(ann: User, path: str) -> None:
    shown = _confirmed(ann).get(path)

    assert shown.status_code == 200
    assert "Account settings" in shown.content.decode()
    assert shown.content.decode().count("<h1") == 1


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("  Ann\u202e \t Example\x00 ", "Ann Example"),
        ("e\u0301", "é"),
        ("", ""),
    ],
)
def test_profile_stores_visible_name(ann: User, sent: str, stored: str) -> None:
    form = {"name": sent.replace("\x00", ""), "time_zone": "Europe/Zurich"}
    answer = _sign_in(ann).post("/app/users/profile/", form)

    ann.refresh_from_db()
    assert (answer.status_code, ann.name, ann.time_zone) == (302, stored, "Europe/Zurich")


@pytest.mark.parametrize(
    "form", [{"name": "x" * 151}, {"time_zone": "Mars/Base"}, {"name": "\x00"}]
)
def test_profile_with_bad_value_names_the_field(ann: User, form: dict[str, str]) -> None:
    answer = _sign_in(ann).post("/app/users/profile/", form)

    assert answer.status_code == 422
    assert "field-error" in answer.content.decode()


def test_times_are_shown_in_the_zone_of_the_user(ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(time_zone="Asia/Tokyo")
    with time_machine.travel("2026-01-01T20:00:00Z", tick=False):
        shown = _sign_in(ann).get("/accounts/sessions/").content.decode()

    assert "2 Jan 2026 05:00" in shown


def test_export_has_data_of_the_user_and_no_secret(
    ann: User, django_capture_on_commit_callbacks: Commits
) -> None:
    Authenticator.objects.create(user=ann, type=Authenticator.Type.TOTP, data={"secret": SECRET})
    run = RunFactory.create(user=ann)
    RunFactory.create()

    browser = _sign_in_with_code(ann)
    browser.post("/accounts/reauthenticate/", {"password": PASSWORD})

    with django_capture_on_commit_callbacks(execute=True):
        waiting = browser.get("/app/users/data/export/", follow=True).content.decode()
    answer = browser.get("/app/users/data/export/")

    assert "Your file is being made" in waiting
    archive = zipfile.ZipFile(io.BytesIO(streamed(answer)))
    account = json.loads(archive.read("account.json"))
    runs = [json.loads(line) for line in archive.read("runs.jsonl").splitlines()]
    assert account["profile"]["email"] == ann.email
    assert [each["ip"] for each in account["sessions"]] == ["127.0.0.1"]
    assert [each["id"] for each in runs] == [str(run.pk)]
    assert SECRET not in json.dumps(account)
    assert ann.password not in json.dumps(account)


def _sign_in_with_code(user: User) -> Client:
    browser = _sign_in(user)
    browser.post("/accounts/2fa/authenticate/", {"code": _code()})
    return browser


@pytest.mark.parametrize(
    "path", ["/accounts/2fa/webauthn/add/", "/app/users/delete/", "/accounts/2fa/totp/activate/"]
)
def test_sensitive_page_asks_for_password_every_five_minutes(ann: User, path: str) -> None:
    with time_machine.travel(time.time(), tick=False) as traveller:
        browser = _sign_in(ann)
        asked = browser.get(path)
        browser.post(asked.headers["Location"], {"password": PASSWORD})
        shown = browser.get(path)
        traveller.shift(301)
        again = browser.get(path)

    assert asked.headers["Location"].startswith("/accounts/reauthenticate/")
    assert shown.status_code == 200
    assert again.headers["Location"] == asked.headers["Location"]


def test_deletion_page_tells_fate_of_each_organisation(ann: User) -> None:
    left, needed = (OrganisationFactory.create(name=name) for name in ("Left", "Needed"))
    for organisation, role in ((left, Role.OWNER), (needed, Role.VIEWER)):
        MembershipFactory.create(user=ann, organisation=organisation)
        MembershipFactory.create(organisation=organisation, role=role)

    shown = _confirmed(ann).get("/app/users/delete/").content.decode().partition("<main")[2]

    places = [shown.index(text) for text in ("Needed", "Deleted with the account", ">Left<")]
    assert places == sorted(places)
    assert "Type ann@example.org" not in shown


@pytest.mark.parametrize("typed", ["", "bob@example.org", "ann@example.org\x00"])
def test_deletion_with_wrong_confirmation_keeps_account(ann: User, typed: str) -> None:
    answer = _confirmed(ann).post("/app/users/delete/", {"confirmation": typed})

    assert answer.status_code == 422
    assert User.objects.get(pk=ann.pk).is_active


def test_deletion_removes_account_and_workspace(
    ann: User, django_capture_on_commit_callbacks: Commits
) -> None:
    browser = _confirmed(ann)
    alone = OrganisationFactory.create()
    MembershipFactory.create(user=ann, organisation=alone)

    with django_capture_on_commit_callbacks(execute=True):
        answer = browser.post(
            "/app/users/delete/", {"confirmation": "Ann@example.org"}, follow=True
        )

    assert "Your account is deleted" in answer.content.decode()
    assert not User.objects.filter(pk=ann.pk).exists()
    assert not Organisation.objects.exists()
    assert browser.get("/app/users/profile/").status_code == 302


def test_password_alone_does_not_sign_in_with_second_factor(ann: User) -> None:
    Authenticator.objects.create(user=ann, type=Authenticator.Type.TOTP, data={"secret": SECRET})
    browser = _sign_in(ann)

    for path in ("/app/users/profile/", "/admin/"):
        assert browser.get(path).status_code == 302
    assert browser.get("/api/v1/orgs/").status_code in {401, 403, 404}
    wrong = browser.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert "Incorrect code" in wrong.content.decode()
    browser.post("/accounts/2fa/authenticate/", {"code": _code()})
    assert browser.get("/app/users/profile/").status_code == 200


def test_wrong_codes_are_limited(ann: User) -> None:
    Authenticator.objects.create(user=ann, type=Authenticator.Type.TOTP, data={"secret": SECRET})
    with time_machine.travel(time.time(), tick=False):
        browser = _sign_in(ann)
        for _ in range(6):
            browser.post("/accounts/2fa/authenticate/", {"code": "000000"})
        browser.post("/accounts/2fa/authenticate/", {"code": _code()})

    assert browser.get("/app/users/profile/").status_code == 302


def test_admin_site_shows_no_secret_of_second_factor(ann: User) -> None:
    factor = Authenticator.objects.create(
        user=ann, type=Authenticator.Type.TOTP, data={"secret": SECRET}
    )
    browser = Client()
    browser.force_login(UserFactory.create(is_staff=True, is_superuser=True))

    for path in ("", f"{factor.pk}/change/"):
        shown = browser.get(f"/admin/mfa/authenticator/{path}")
        assert (shown.status_code, SECRET in shown.content.decode()) == (200, False)


def test_used_code_does_not_sign_in_again(ann: User) -> None:
    Authenticator.objects.create(user=ann, type=Authenticator.Type.TOTP, data={"secret": SECRET})
    with time_machine.travel(time.time(), tick=False):
        assert _sign_in_with_code(ann).get("/app/users/profile/").status_code == 200
        assert _sign_in_with_code(ann).get("/app/users/profile/").status_code == 302


def test_totp_is_activated_with_recovery_codes_and_mail(
    ann: User, django_capture_on_commit_callbacks: Commits
) -> None:
    browser = _confirmed(ann)
    page = browser.get("/accounts/2fa/totp/activate/")
    secret = page.context["form"].secret

    with django_capture_on_commit_callbacks(execute=True):
        browser.post("/accounts/2fa/totp/activate/", {"code": _code(secret)})

    codes = browser.get("/accounts/2fa/recovery-codes/")
    assert "data:image/svg+xml" in page.content.decode()
    assert len(codes.context["unused_codes"]) == 10
    assert "authenticator" in mail.outbox[0].subject.lower()


def test_sign_out_elsewhere_ends_other_sessions(ann: User) -> None:
    here, there = _sign_in(ann), _sign_in(ann, headers={"User-Agent": "Other browser"})

    assert "Other browser" in here.get("/accounts/sessions/").content.decode()
    here.post("/accounts/sessions/")

    assert there.get("/app/users/profile/").status_code == 302
    assert here.get("/app/users/profile/").status_code == 200


def test_one_session_is_ended_by_its_user_only(ann: User) -> None:
    here, there = _sign_in(ann), _sign_in(ann, headers={"User-Agent": "Other browser"})
    other = UserSession.objects.get(user_agent="Other browser")
    another = Client()
    another.force_login(UserFactory.create())

    assert another.post(f"/app/users/sessions/{other.pk}/end/").status_code == 404
    assert there.get("/app/users/profile/").status_code == 200
    here.post(f"/app/users/sessions/{other.pk}/end/")

    assert there.get("/app/users/profile/").status_code == 302
    assert here.get("/app/users/profile/").status_code == 200


def test_pages_are_shown_in_the_language_of_the_account(ann: User, settings: Settings) -> None:
    browser = _sign_in(ann)
    browser.post("/app/users/profile/", {"language": "de"})
    german = browser.post("/app/users/profile/", {"time_zone": "Mars/Base"}).content.decode()
    settings.LANGUAGES = [("en", "English")]
    english = browser.get("/app/users/profile/").content.decode()

    assert '<html lang="de">' in german
    assert "gültige Auswahl" in german  # of Django's catalogue
    assert "Texte ohne Übersetzung werden auf Englisch gezeigt." in german  # of ours
    assert '<html lang="en">' in english
    assert 'name="language"' not in english


def test_password_change_ends_other_sessions(ann: User) -> None:
    here, there = _sign_in(ann), _sign_in(ann)
    form = {"oldpassword": PASSWORD, "password1": "an0ther-long", "password2": "an0ther-long"}

    here.post("/accounts/password/change/", form)

    assert there.get("/app/users/profile/").status_code == 302
    assert here.get("/app/users/profile/").status_code == 200


def test_session_activity_is_noted_at_intervals(ann: User) -> None:
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False) as traveller:
        browser = _sign_in(ann)
        browser.get("/app/users/profile/")
        first = UserSession.objects.get().last_seen_at
        traveller.shift(ACTIVITY_INTERVAL.total_seconds() - 1)
        browser.get("/app/users/profile/")
        same = UserSession.objects.get().last_seen_at
        traveller.shift(1)
        browser.get("/app/users/profile/")

    assert same == first
    assert UserSession.objects.get().last_seen_at == first + ACTIVITY_INTERVAL


def test_new_address_takes_place_when_verified(
    ann: User, django_capture_on_commit_callbacks: Commits
) -> None:
    browser = _confirmed(ann)
    with django_capture_on_commit_callbacks(execute=True):
        browser.post("/accounts/email/", {"email": "new@example.org", "action_add": "1"})
    ann.refresh_from_db()
    before = ann.email
    sent = next(each for each in mail.outbox if each.to == ["new@example.org"])
    link = next(word for word in sent.body.split() if "/confirm-email/" in word)

    with django_capture_on_commit_callbacks(execute=True):
        browser.post(link.removeprefix("http://testserver"))

    ann.refresh_from_db()
    assert (before, ann.email) == ("ann@example.org", "new@example.org")
    # The owner of the old address is told.
    assert ["ann@example.org"] in [each.to for each in mail.outbox]


def test_linked_account_of_removed_provider_is_still_listed(ann: User) -> None:
    SocialAccount.objects.create(user=ann, provider="gone", uid="42")

    shown = _sign_in(ann).get("/accounts/3rdparty/")

    assert (shown.status_code, "gone" in shown.content.decode()) == (200, True)


def test_user_of_other_session_cannot_unlink(ann: User) -> None:
    other = UserFactory.create()
    theirs = SocialAccount.objects.create(user=other, provider="sso", uid="42")

    answer = _sign_in(ann).post("/accounts/3rdparty/", {"account": theirs.pk})

    assert answer.status_code == 200
    assert SocialAccount.objects.filter(user=other).exists()


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Firefox on Linux",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537 Edg/140", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604", "Safari on iOS"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "unknown"),
    ],
)
def test_browser_name_of_user_agent(user_agent: str, shown: str) -> None:
    assert browser_name(user_agent) == shown


def test_password_reset_ends_sessions(
    ann: User, django_capture_on_commit_callbacks: Commits
) -> None:
    signed_in, forgetful = _sign_in(ann), Client()
    with django_capture_on_commit_callbacks(execute=True):
        forgetful.post("/accounts/password/reset/", {"email": ann.email})
    link = next(word for word in mail.outbox[0].body.split() if "/reset/key/" in word)
    form = forgetful.get(link, follow=True)

    form_path = form.redirect_chain[-1][0]
    forgetful.post(form_path, {"password1": "an0ther-long", "password2": "an0ther-long"})

    ann.refresh_from_db()
    assert ann.check_password("an0ther-long")
    assert signed_in.get("/app/users/profile/").status_code == 302
    assert "no longer works" in Client().get(link, follow=True).content.decode()
