"""The index that lets a step have one active attempt; 0004 dropped it together with that of its key."""

from django.db import migrations

# Databases that began with the squashed migrations have it.
INDEX = """
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_active_attempt_per_step ON runs_attempt (step_run_id)
    WHERE state IN ('DISPATCHING', 'PENDING', 'RUNNING', 'UNKNOWN')
"""


class Migration(migrations.Migration):
    atomic = False  # the table may be large: the index is built without a lock
    dependencies = [("runs", "0020_credits")]

    operations = [migrations.RunSQL(INDEX, migrations.RunSQL.noop)]
