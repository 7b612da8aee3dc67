import json

from django.db import migrations

from validibot.accounts.second_factors import decrypt, encrypt

TABLE = "mfa_authenticator"


def convert(schema_editor, change):
    """Convert the secrets of all rows; the table belongs to an app that the worker has not installed."""
    connection = schema_editor.connection
    if TABLE not in connection.introspection.table_names():
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, data FROM {TABLE} WHERE type IN ('totp', 'recovery_codes') FOR UPDATE")
        for pk, stored in cursor.fetchall():
            data = json.loads(stored) if isinstance(stored, str) else stored
            for name in ("secret", "seed"):
                if name in data:
                    data[name] = change(decrypt(data[name]))
            if "migrated_codes" in data:
                data["migrated_codes"] = [change(decrypt(each)) for each in data["migrated_codes"]]
            cursor.execute(f"UPDATE {TABLE} SET data = %s WHERE id = %s", [json.dumps(data), pk])


def encrypt_all(apps, schema_editor):
    convert(schema_editor, encrypt)


def decrypt_all(apps, schema_editor):
    convert(schema_editor, lambda text: text)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0008_audit_entry'),
    ]

    operations = [
        migrations.RunPython(encrypt_all, decrypt_all),
    ]
