"""The tables as of 0004: new databases get them in one step."""

import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models

# The extension is trusted: the owner of a database may create it.
EXTENSION = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
# By which the list of runs finds a part of a file's name or of a submission's name; `upper` is what
# `icontains` compares.
INDEX = """
CREATE INDEX submission_names ON submissions_submission
    USING gin (upper(filename::text) gin_trgm_ops, upper(name::text) gin_trgm_ops)
"""


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ("submissions", "0001_initial"),
        ("submissions", "0002_further_files"),
        ("submissions", "0003_text_index"),
        ("submissions", "0004_retention"),
    ]

    dependencies = [
        ('accounts', '0001_squashed_0010_user_language'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Submission',
            fields=[
                ('filename', models.CharField(max_length=255)),
                ('mime_type', models.CharField(max_length=100)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('sha256', models.CharField(max_length=64)),
                ('inline', models.BinaryField(blank=True, null=True)),
                ('uri', models.CharField(blank=True, max_length=1000)),
                ('storage_version', models.CharField(blank=True, max_length=512)),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(blank=True, max_length=255)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('short_description', models.CharField(blank=True, max_length=255)),
                ('content_removed_at', models.DateTimeField(blank=True, null=True)),
                ('further_file_count', models.PositiveSmallIntegerField(db_default=0, default=0)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('organisation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='submissions', to='accounts.organisation')),
                ('project', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='accounts.project')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='SubmissionFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('filename', models.CharField(max_length=255)),
                ('mime_type', models.CharField(max_length=100)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('sha256', models.CharField(max_length=64)),
                ('inline', models.BinaryField(blank=True, null=True)),
                ('uri', models.CharField(blank=True, max_length=1000)),
                ('storage_version', models.CharField(blank=True, max_length=512)),
                ('order', models.PositiveSmallIntegerField()),
                ('submission', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='files', to='submissions.submission')),
            ],
            options={
                'ordering': ['order'],
                'abstract': False,
            },
        ),
        migrations.AddConstraint(
            model_name='submission',
            constraint=models.CheckConstraint(condition=models.Q(('inline__isnull', True), ('uri', ''), _connector='XOR'), name='submission_is_inline_or_stored'),
        ),
        migrations.AddConstraint(
            model_name='submissionfile',
            constraint=models.CheckConstraint(condition=models.Q(('inline__isnull', True), ('uri', ''), _connector='XOR'), name='submissionfile_is_inline_or_stored'),
        ),
        migrations.AddConstraint(
            model_name='submissionfile',
            constraint=models.UniqueConstraint(fields=('submission', 'order'), name='submission_file_order_is_unique'),
        ),
        migrations.RunSQL(EXTENSION, migrations.RunSQL.noop),
        migrations.RunSQL(INDEX, "DROP INDEX submission_names"),
    ]
