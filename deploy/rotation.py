"""Rotation of a secret: a new version, new instances that read it, then the end of the old versions."""

from collections.abc import Callable

from deploy.errors import DeployError, explained
from deploy.layout import Layout
from deploy.plan import change_of
from deploy.resource import Resource, command
from deploy.resources.secret import Secret

# Effects of a new value, by variable; those of others only the provider knows.
ENDS = {
    "API_KEY_PEPPER": "all API keys, shared links, launch links, invitations, authenticator apps and "
    "recovery codes; receivers of webhooks need their new secrets",
    "DATABASE_URL": "nothing, as long as the database takes both passwords; change the old one then",
    "DJANGO_SECRET_KEY": "all sessions, the links in mails about passwords and addresses, and the stored"
    " keys of AI endpoints",
}
# The password of a user that `deploy` made changes at once; there is no second one meanwhile.
_OWN_DATABASE = (
    "new connections of the running instances, until new instances have the traffic a minute later; "
    "connections that are open stay"
)
_OTHER = "nothing here; revoke the old value with its provider once this command has ended"


def rotation_ends(secret: Secret) -> str:
    """Return what a new value of a secret ends, for the operator."""
    if secret.variable == "DATABASE_URL" and secret.generate:
        return _OWN_DATABASE
    return ENDS.get(secret.variable, _OTHER)


def rotate(layout: Layout, secret: Secret, value: str, *, tell: Callable[[str], None]) -> None:
    """Give a secret a new value, roll both services to it, and retire the older versions.

    Instances read a secret when they start, so each service gets a revision with the same settings.
    If the command is interrupted, the old version still works; repeat it. Raises DeployError.
    """
    services = list(zip(layout.product.services, layout.product.traffic, strict=True))
    # Without its `kept_days` the older versions of the secret would be destroyed at once.
    for resource in (secret, *(each for pair in services for each in pair)):
        _check_in_line(resource)
    with explained(secret.address):
        older = secret.versions()
        tell(command("secrets", "versions", "add", secret.name, data_file="-"))
        secret.add(value)
    for user in layout.data.users_of([secret]):
        _renew(user, tell)
    for pair in services:
        for resource in pair:
            _renew(resource, tell)
    with explained(secret.address):
        for version in (*older, *secret.retired()):
            number = version.rpartition("/")[2]
            tell(command("secrets", "versions", "destroy", number, secret=secret.name))
            secret.retire(version)


def _renew(resource: Resource, tell: Callable[[str], None]) -> None:
    for line in resource.gcloud("update", {}):
        tell(line)
    with explained(resource.address):
        resource.update({})


def _check_in_line(resource: Resource) -> None:
    """Raise DeployError if a new revision would bring other changes with it."""
    if change_of(resource):
        raise DeployError(
            f"{resource.address} differs from the stage file, and the rotation would roll that out, too. "
            "Run `apply` first."
        )
