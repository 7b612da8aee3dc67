"""Users, organisations with their members and guests, invitations, projects and API keys.

Fields that were added later have a default in the database, too: processes of the version before go
on inserting rows during a deployment.
"""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager as BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy as _


class UserManager(BaseUserManager["User"]):
    """Creates users by email address; there are no user names."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":  # type: ignore[override]
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":  # type: ignore[override]
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractUser):
    """A person, known by email address, or the account of an organisation's service key.

    A service account has no password and no mailbox; `service_of` is the organisation that owns it.
    """

    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    name = models.CharField(_("name"), max_length=150, blank=True)
    email = models.EmailField(unique=True)
    service_of = models.ForeignKey(
        "Organisation",
        null=True,
        blank=True,
        editable=False,
        on_delete=models.CASCADE,
        related_name="service_accounts",
    )
    # A name of the IANA database. Empty: the site's time zone.
    time_zone = models.CharField(
        _("time zone"), max_length=50, blank=True, default="", db_default=""
    )

    # A code of LANGUAGES. Empty: the language of the browser.
    language = models.CharField(_("language"), max_length=20, blank=True, default="", db_default="")

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.get_full_name()


def default_data_region() -> str:
    """Return the region in which a new organisation keeps its data."""
    return str(settings.DEFAULT_DATA_REGION)


class Organisation(models.Model):
    """A tenant. `personal_owner` is set for the personal workspace of a user.

    `launch_quota` is the number of unfinished runs at which no further run is started: empty for
    the site's `LAUNCH_QUOTA`, 0 for no limit. `concurrent_runs` is the number of runs that are under way
    at once, while further ones wait: empty for that of the site settings, 0 for no limit. From `deletion_requested_at` on no run is started.
    `data_region` is a key of the setting `DATA_REGIONS`; it is fixed once there are runs.
    """

    name = models.CharField(max_length=150)
    slug = models.SlugField(max_length=60, unique=True)
    personal_owner = models.OneToOneField(
        User, null=True, blank=True, on_delete=models.CASCADE, related_name="workspace"
    )
    members = models.ManyToManyField(User, through="Membership", related_name="organisations")
    launch_quota = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Unfinished runs at which no further run is started. Empty: the site's quota; 0: no limit.",
    )
    concurrent_runs = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Runs at once; further ones wait. Empty: the site setting; 0: no limit.",
    )
    created_at = models.DateTimeField(default=timezone.now)
    deletion_requested_at = models.DateTimeField(null=True, blank=True, editable=False)
    data_region = models.CharField(max_length=40, default=default_data_region, db_default="")

    def __str__(self) -> str:
        return self.name

    @property
    def data_region_label(self) -> str:
        return gettext(settings.DATA_REGIONS.get(self.data_region, self.data_region))

    @classmethod
    def locked(cls, pk: int) -> "Organisation":
        """Return the organisation, locked until the transaction ends. Raises DoesNotExist.

        Every change of its members, projects or invitations takes this lock first, so a rule about
        all of them (one owner is left, names differ) holds for concurrent requests.
        """
        return cls.objects.select_for_update(of=("self",)).get(pk=pk)


class Role(models.TextChoices):
    """The role of a member (see scope for what each may do), the strongest first."""

    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    AUTHOR = "author", _("Author")
    EXECUTOR = "executor", _("Executor")
    RESULTS_VIEWER = "results_viewer", _("Results viewer")
    ANALYTICS_VIEWER = "analytics_viewer", _("Analytics viewer")
    VIEWER = "viewer", _("Viewer")


class Membership(models.Model):
    """A user's place in an organisation; service accounts have one, too."""

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="memberships", db_index=False
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organisation", "user"], name="one_membership_per_user")
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.organisation}"


class GrantAccess(models.TextChoices):
    """How much of a workflow is granted to a guest."""

    VIEW = "view", _("View")
    LAUNCH = "launch", _("View and start runs")


class WorkflowGrant(models.Model):
    """A guest's access to one workflow of an organisation, in all its versions.

    `workflow` is the slug: workflows live in a layer above, and a slug names all versions.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="grants", db_index=False
    )
    workflow = models.SlugField(max_length=60, db_index=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="grants")
    access = models.CharField(max_length=10, choices=GrantAccess, default=GrantAccess.VIEW)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organisation", "user", "workflow"], name="one_grant_per_workflow"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.access} {self.workflow} of {self.organisation}"


class Invitation(models.Model):
    """An invitation by mail; see invitations. Only a keyed digest of the link's token is kept.

    It is for a `role`, or for a guest: then `role` is empty and `workflows` are the slugs that the
    guest may see, with `access`.
    """

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="invitations"
    )
    email = models.EmailField()
    role = models.CharField(max_length=20, choices=Role, blank=True)
    workflows = models.JSONField(default=list, blank=True)
    access = models.CharField(max_length=10, choices=GrantAccess, default=GrantAccess.VIEW)
    token_digest = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="invitations_sent"
    )
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="invitations_accepted"
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-sent_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organisation", "email"],
                condition=models.Q(accepted_at=None, revoked_at=None),
                name="one_open_invitation_per_address",
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.organisation}"

    @property
    def is_open(self) -> bool:
        """Whether it can be accepted now."""
        closed = self.accepted_at or self.revoked_at
        return not closed and self.expires_at > timezone.now()

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()


class WaitlistEntry(models.Model):
    """An address whose owner wants an account; see waitlist. It goes when there is an account."""

    email = models.EmailField(unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    invited_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["created_at"]
        verbose_name_plural = "waitlist entries"

    def __str__(self) -> str:
        return self.email


class ProjectColour(models.TextChoices):
    """The colour of a project; `style.css` has a class for each, light and dark."""

    TEAL = "teal", _("Teal")
    GREEN = "green", _("Green")
    AMBER = "amber", _("Amber")
    ORANGE = "orange", _("Orange")
    ROSE = "rose", _("Rose")
    VIOLET = "violet", _("Violet")
    BLUE = "blue", _("Blue")
    SLATE = "slate", _("Slate")


class Project(models.Model):
    """A folder for workflows and runs within an organisation; new workflows go to the default one."""

    organisation = models.ForeignKey(
        Organisation, on_delete=models.CASCADE, related_name="projects", db_index=False
    )
    name = models.CharField(max_length=150)
    slug = models.SlugField(max_length=60)
    colour = models.CharField(
        max_length=10,
        choices=ProjectColour,
        default=ProjectColour.TEAL,
        db_default=ProjectColour.TEAL,
    )
    is_default = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = [Lower("name"), "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organisation", "slug"], name="project_slug_is_unique"),
            models.UniqueConstraint(
                fields=["organisation"],
                condition=models.Q(is_default=True),
                name="one_default_project",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class KeyScope(models.TextChoices):
    """The scopes of API keys; each narrows the role of the key's user (see scope)."""

    READ = "read", _("Read")
    LAUNCH = "launch", _("Launch")
    MANAGE = "manage", _("Manage")


ALL_KEY_SCOPES = " ".join(KeyScope.values)


class ApiKey(models.Model):
    """A key for the API. Only a keyed digest of it is kept; see api_keys.

    `scopes` are separated by spaces. `replaced_by` is the key that a rotation made of this one, which
    goes on working until `expires_at`.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    public_id = models.CharField(max_length=32, unique=True)
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    scopes = models.CharField(max_length=60, default=ALL_KEY_SCOPES, db_default=ALL_KEY_SCOPES)
    replaced_by = models.ForeignKey(
        "self", null=True, blank=True, editable=False, on_delete=models.SET_NULL
    )

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id[:8]}…)"

    @property
    def is_valid(self) -> bool:
        """Whether the key is accepted now."""
        return self.revoked_at is None and self.expires_at > timezone.now()


class AuditEntry(models.Model):
    """A change in an organisation or an account, or of the site; see audit. It is never changed.

    `account` is the person whose sign-in or key it is about; without it and without an organisation
    the entry is about the site. `actor` is an email address, so that it outlives the account; it is empty for commands and visitors.
    `changes` are the values before and after by field: {name: [before, after]}.
    """

    organisation = models.ForeignKey(
        Organisation,
        null=True,
        on_delete=models.CASCADE,
        related_name="audit_entries",
        db_index=False,
    )
    account = models.ForeignKey(
        User, null=True, on_delete=models.CASCADE, related_name="security_entries", db_index=False
    )
    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=254, blank=True)
    action = models.CharField(max_length=40)
    target = models.CharField(max_length=200, blank=True)
    changes = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=200, blank=True)
    via = models.CharField(max_length=10)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [
            models.Index(fields=["organisation", "-id"], name="audit_of_organisation"),
            models.Index(
                fields=["account", "-id"],
                condition=models.Q(account__isnull=False),
                name="audit_of_account",
            ),
            models.Index(fields=["at"], name="audit_by_moment"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor} {self.action} {self.target}"
