import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Entries of webhooks held the whole address, which may be a secret: scheme and host are left.
SHORTEN_ADDRESSES = r"""
ALTER TABLE accounts_auditentry DISABLE TRIGGER accounts_auditentry_is_final;
UPDATE accounts_auditentry SET changes = jsonb_set(changes, '{url}', (
    SELECT jsonb_agg(CASE jsonb_typeof(value) WHEN 'string'
        THEN to_jsonb(regexp_replace(value #>> '{}', '^(https?://[^/?#]*).*$', '\1'))
        ELSE value END ORDER BY number)
    FROM jsonb_array_elements(changes -> 'url') WITH ORDINALITY AS pair (value, number)))
WHERE action LIKE 'webhook.%' AND jsonb_typeof(changes -> 'url') = 'array';
ALTER TABLE accounts_auditentry ENABLE TRIGGER accounts_auditentry_is_final;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_user_language")]
    rows_may_change = "The version before shows these entries only, and a shorter address is one."

    operations = [
        migrations.RunSQL(SHORTEN_ADDRESSES, migrations.RunSQL.noop),
        migrations.AlterField(
            "auditentry",
            "organisation",
            models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="audit_entries",
                to="accounts.organisation",
            ),
        ),
        migrations.AddField(
            "auditentry",
            "account",
            models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="security_entries",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
    ]
