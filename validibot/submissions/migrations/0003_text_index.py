"""The index by which the list of runs finds a part of a file's name or of a submission's name."""

from django.db import migrations

# The extension is trusted: the owner of a database may create it. `upper` is what `icontains` compares.
FORWARDS = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX submission_names ON submissions_submission
    USING gin (upper(filename::text) gin_trgm_ops, upper(name::text) gin_trgm_ops);
"""


class Migration(migrations.Migration):
    dependencies = [("submissions", "0002_further_files")]

    operations = [migrations.RunSQL(FORWARDS, "DROP INDEX submission_names")]
