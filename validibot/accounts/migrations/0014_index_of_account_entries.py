"""The index of the entries of an account, built without a lock: the table may be large."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "0013_concurrent_runs")]

    operations = [
        AddIndexConcurrently(
            "auditentry",
            models.Index(
                condition=models.Q(("account__isnull", False)),
                fields=["account", "-id"],
                name="audit_of_account",
            ),
        ),
    ]
