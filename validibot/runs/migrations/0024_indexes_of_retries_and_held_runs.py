"""Indexes of retries and of held runs, built without a lock: the table may be large."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# A constraint with a condition is an index.
ONE_RETRY = """
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_retry_of_a_run ON runs_run (retry_of_id)
    WHERE retry_of_id IS NOT NULL AND NOT (status = 'CANCELED')
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("runs", "0023_figures")]

    operations = [
        migrations.RunSQL(
            ONE_RETRY,
            "DROP INDEX CONCURRENTLY one_retry_of_a_run",
            state_operations=[
                migrations.AddConstraint(
                    "run",
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("retry_of__isnull", False),
                            models.Q(("status", "CANCELED"), _negated=True),
                        ),
                        fields=("retry_of",),
                        name="one_retry_of_a_run",
                    ),
                )
            ],
        ),
        AddIndexConcurrently(
            "run",
            models.Index(
                condition=models.Q(("retry_of__isnull", False)),
                fields=["retry_of"],
                name="retries_of_run",
            ),
        ),
        AddIndexConcurrently(
            "run",
            models.Index(
                condition=models.Q(("held_at__isnull", False)),
                fields=["organisation", "held_at"],
                name="held_runs",
            ),
        ),
    ]
