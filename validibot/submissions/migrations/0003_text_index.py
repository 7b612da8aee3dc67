"""The index by which the list of runs finds a part of a file's name or of a submission's name."""

from django.db import migrations

# The extension is trusted: the owner of a database may create it.
EXTENSION = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
# `upper` is what `icontains` compares.
INDEX = """
CREATE INDEX CONCURRENTLY submission_names ON submissions_submission
    USING gin (upper(filename::text) gin_trgm_ops, upper(name::text) gin_trgm_ops)
"""


class Migration(migrations.Migration):
    atomic = False  # the table may be large: the index is built without a lock
    dependencies = [("submissions", "0002_further_files")]

    operations = [
        migrations.RunSQL(EXTENSION, migrations.RunSQL.noop),
        migrations.RunSQL(INDEX, "DROP INDEX CONCURRENTLY submission_names"),
    ]
