import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

REFUSE_CHANGES = """
CREATE FUNCTION accounts_auditentry_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'An entry of the audit log cannot be changed.';
END $$;
CREATE TRIGGER accounts_auditentry_is_final BEFORE UPDATE ON accounts_auditentry
    FOR EACH ROW EXECUTE FUNCTION accounts_auditentry_is_final();
"""
ALLOW_CHANGES = """
DROP TRIGGER accounts_auditentry_is_final ON accounts_auditentry;
DROP FUNCTION accounts_auditentry_is_final();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_user_time_zone")]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("actor", models.CharField(blank=True, max_length=254)),
                ("action", models.CharField(max_length=40)),
                ("target", models.CharField(blank=True, max_length=200)),
                ("changes", models.JSONField(default=dict)),
                ("address", models.GenericIPAddressField(null=True)),
                ("request_id", models.CharField(blank=True, max_length=200)),
                ("via", models.CharField(max_length=10)),
                (
                    "organisation",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="audit_entries",
                        to="accounts.organisation",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "indexes": [
                    models.Index(fields=["organisation", "-id"], name="audit_of_organisation"),
                    models.Index(fields=["at"], name="audit_by_moment"),
                ],
            },
        ),
        migrations.RunSQL(REFUSE_CHANGES, ALLOW_CHANGES),
    ]
