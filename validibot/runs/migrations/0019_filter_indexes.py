import django.db.models.deletion
from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django_migration_linter import IgnoreMigration


class Migration(migrations.Migration):

    # The table may be large: its indexes are built without a lock, which needs no transaction.
    atomic = False

    dependencies = [
        ('runs', '0018_retry'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # The new indexes lock nothing; the old one is dropped in a moment.
        IgnoreMigration(),
        # Most failed runs have one category: without knowing it, PostgreSQL expects a sixth of them.
        migrations.RunSQL(
            'CREATE STATISTICS runs_result (mcv) ON status, error_category FROM runs_run',
            'DROP STATISTICS runs_result',
        ),
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(fields=['user', 'organisation', '-created_at'], name='runs_of_person'),
        ),
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(fields=['organisation', 'source', '-created_at'], name='runs_by_source'),
        ),
        migrations.AlterField(
            model_name='run',
            name='user',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL),
        ),
    ]
