"""The tables as of 0017: new databases get them in one step."""

import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models

# Whoever writes an event or changes a step notifies those who wait, without a query of its own.
# `validibot.runs.events` listens.
TRIGGERS = """
CREATE FUNCTION runs_notify_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('run_events', NEW.run_id::text || CASE
        WHEN NEW.kind IN ('passed', 'failed', 'error', 'canceled', 'timed_out') THEN ' end'
        ELSE ''
    END);
    RETURN NULL;
END $$;
CREATE TRIGGER runs_notify_event AFTER INSERT ON runs_runevent
    FOR EACH ROW EXECUTE FUNCTION runs_notify_event();
CREATE FUNCTION runs_notify_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('run_events', NEW.run_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER runs_notify_step AFTER UPDATE OF status ON runs_steprun
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION runs_notify_step();
"""
NO_TRIGGERS = """
DROP TRIGGER runs_notify_event ON runs_runevent;
DROP FUNCTION runs_notify_event;
DROP TRIGGER runs_notify_step ON runs_steprun;
DROP FUNCTION runs_notify_step;
"""


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ("runs", "0001_initial"),
        ("runs", "0002_run_scenario"),
        ("runs", "0003_attempt_image_digest"),
        ("runs", "0004_one_lifecycle"),
        ("runs", "0005_run_evidence"),
        ("runs", "0006_callback_receipt"),
        ("runs", "0007_restrict_deletion"),
        ("runs", "0008_unfinished_runs_index"),
        ("runs", "0009_weather"),
        ("runs", "0010_rerun_of"),
        ("runs", "0011_rules_of_step"),
        ("runs", "0012_run_share"),
        ("runs", "0013_list_indexes"),
        ("runs", "0014_launch_links"),
        ("runs", "0015_schedules"),
        ("runs", "0016_trials"),
        ("runs", "0017_saved_views"),
    ]

    dependencies = [
        ('accounts', '0001_squashed_0010_user_language'),
        ('submissions', '0001_squashed_0004_retention'),
        ('workflows', '0001_squashed_0020_featured_image'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField(default=1)),
                ('state', models.CharField(choices=[('PENDING', 'Pending'), ('DISPATCHING', 'Dispatching'), ('RUNNING', 'Running'), ('UNKNOWN', 'Unknown'), ('COMPLETED', 'Completed'), ('FAILED', 'Failed'), ('CANCELED', 'Canceled'), ('TIMED_OUT', 'Timed Out')], default='PENDING', max_length=20)),
                ('backend', models.CharField(default='default', max_length=60)),
                ('image', models.CharField(blank=True, max_length=300)),
                ('image_digest', models.CharField(blank=True, default='', max_length=100)),
                ('execution', models.CharField(blank=True, max_length=500)),
                ('nonce_digest', models.CharField(max_length=64)),
                ('bundle_uri', models.CharField(max_length=1000)),
                ('input_uri', models.CharField(max_length=1000)),
                ('input_sha256', models.CharField(blank=True, max_length=64)),
                ('output_uri', models.CharField(max_length=1000)),
                ('error', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('launched_at', models.DateTimeField(blank=True, null=True)),
                ('called_back_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('timeout_at', models.DateTimeField()),
                ('cancel_requested_at', models.DateTimeField(blank=True, null=True)),
                ('execution_ended_at', models.DateTimeField(blank=True, null=True)),
                ('checked_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['number'],
            },
        ),
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('source', models.CharField(choices=[('LAUNCH_PAGE', 'Launch Page'), ('API', 'Api'), ('CLI', 'Cli'), ('LINK', 'Link'), ('SCHEDULE', 'Schedule'), ('TRIAL', 'Trial')], default='API', max_length=20)),
                ('scenario', models.CharField(blank=True, default='', max_length=60)),
                ('status', models.CharField(choices=[('PENDING', 'Pending'), ('RUNNING', 'Running'), ('SUCCEEDED', 'Succeeded'), ('FAILED', 'Failed'), ('CANCELED', 'Canceled'), ('TIMED_OUT', 'Timed Out')], default='PENDING', max_length=20)),
                ('error_category', models.CharField(blank=True, choices=[('', 'None'), ('VALIDATION_FAILED', 'Validation Failed'), ('TIMEOUT', 'Timeout'), ('OOM', 'Oom'), ('RUNTIME_ERROR', 'Runtime Error'), ('SYSTEM_ERROR', 'System Error')], default='', max_length=20)),
                ('error', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('enqueued_at', models.DateTimeField(blank=True, null=True)),
                ('checked_at', models.DateTimeField(blank=True, null=True)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('lease_token', models.UUIDField(blank=True, null=True)),
                ('lease_expires_at', models.DateTimeField(blank=True, null=True)),
                ('organisation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='runs', to='accounts.organisation')),
                ('rerun_of', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='reruns', to='runs.run')),
                ('schedule', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='runs', to='workflows.workflowschedule')),
                ('submission', models.OneToOneField(on_delete=django.db.models.deletion.RESTRICT, related_name='run', to='submissions.submission')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('workflow', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.RESTRICT, related_name='runs', to='workflows.workflow')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='RunEvidence',
            fields=[
                ('run', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='evidence', serialize=False, to='runs.run')),
                ('manifest', models.JSONField()),
                ('manifest_sha256', models.CharField(max_length=64)),
                ('contents', models.JSONField()),
                ('contents_sha256', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'verbose_name_plural': 'run evidence',
            },
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('organisation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='accounts.organisation')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
                ('run', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='runs.run')),
            ],
        ),
        migrations.CreateModel(
            name='CallbackReceipt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('callback_id', models.CharField(max_length=255, unique=True)),
                ('result_uri', models.CharField(max_length=1000)),
                ('status', models.CharField(choices=[('PROCESSING', 'Processing'), ('COMPLETED', 'Completed'), ('REJECTED', 'Rejected')], default='PROCESSING', max_length=20)),
                ('error', models.TextField(blank=True)),
                ('deliveries', models.PositiveIntegerField(default=1)),
                ('claim_token', models.UUIDField(blank=True, null=True)),
                ('claimed_at', models.DateTimeField(blank=True, null=True)),
                ('received_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('attempt', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='receipts', to='runs.attempt')),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='receipts', to='runs.run')),
            ],
        ),
        migrations.CreateModel(
            name='RunShare',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('token_digest', models.CharField(max_length=64, unique=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('expires_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('opened', models.PositiveIntegerField(default=0)),
                ('last_opened_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='shares', to='runs.run')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='SavedView',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60)),
                ('query', models.CharField(max_length=1000)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('organisation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='saved_views', to='accounts.organisation')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='StepRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order', models.PositiveIntegerField()),
                ('name', models.CharField(blank=True, max_length=150)),
                ('validator', models.CharField(blank=True, max_length=60)),
                ('validator_version', models.CharField(blank=True, max_length=40)),
                ('config_digest', models.CharField(blank=True, max_length=64)),
                ('image', models.CharField(blank=True, max_length=300)),
                ('weather', models.JSONField(blank=True, null=True)),
                ('status', models.CharField(choices=[('PENDING', 'Pending'), ('RUNNING', 'Running'), ('PASSED', 'Passed'), ('FAILED', 'Failed'), ('CANCELED', 'Canceled'), ('SKIPPED', 'Skipped')], default='PENDING', max_length=20)),
                ('error', models.TextField(blank=True)),
                ('outputs', models.JSONField(blank=True, default=dict)),
                ('rules', models.JSONField(blank=True, editable=False, null=True)),
                ('starts', models.PositiveIntegerField(default=0)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='runs.run')),
                ('step', models.ForeignKey(on_delete=django.db.models.deletion.RESTRICT, to='workflows.step')),
            ],
            options={
                'ordering': ['order'],
            },
        ),
        migrations.CreateModel(
            name='RunEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('kind', models.CharField(max_length=40)),
                ('actor', models.CharField(blank=True, max_length=255)),
                ('message', models.TextField(blank=True)),
                ('data', models.JSONField(blank=True, default=dict)),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='events', to='runs.run')),
                ('step_run', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='runs.steprun')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='Finding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order', models.PositiveIntegerField()),
                ('severity', models.CharField(choices=[('ERROR', 'Error'), ('WARNING', 'Warning'), ('INFO', 'Info')], max_length=10)),
                ('code', models.CharField(blank=True, max_length=100)),
                ('message', models.TextField()),
                ('path', models.TextField(blank=True)),
                ('line', models.PositiveIntegerField(blank=True, null=True)),
                ('column', models.PositiveIntegerField(blank=True, null=True)),
                ('assertion', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='workflows.assertion')),
                ('run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='findings', to='runs.run')),
                ('step_run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='findings', to='runs.steprun')),
            ],
            options={
                'ordering': ['step_run_id', 'order'],
            },
        ),
        migrations.AddField(
            model_name='attempt',
            name='step_run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='runs.steprun'),
        ),
        migrations.CreateModel(
            name='Artifact',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=255)),
                ('type', models.CharField(max_length=100)),
                ('mime_type', models.CharField(blank=True, max_length=100)),
                ('uri', models.CharField(max_length=1000)),
                ('storage_version', models.CharField(max_length=512)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('sha256', models.CharField(max_length=64)),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='artifacts', to='runs.run')),
                ('step_run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='artifacts', to='runs.steprun')),
            ],
            options={
                'ordering': ['step_run_id', 'name'],
            },
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['organisation', '-created_at'], name='runs_run_organis_73b48a_idx'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['workflow', '-created_at'], name='runs_of_workflow'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('schedule__isnull', False)), fields=['schedule', '-created_at'], name='runs_of_schedule'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['organisation', 'status', 'error_category', '-created_at'], name='runs_by_result'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('status__in', ['PENDING', 'RUNNING'])), fields=['status', 'created_at'], name='unfinished_runs'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('status__in', ['PENDING', 'RUNNING'])), fields=['organisation'], name='unfinished_runs_of'),
        ),
        migrations.AddConstraint(
            model_name='idempotencykey',
            constraint=models.UniqueConstraint(fields=('organisation', 'user', 'key'), name='idempotency_key_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='savedview',
            constraint=models.UniqueConstraint(fields=('organisation', 'user', 'name'), name='saved_view_name_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.UniqueConstraint(fields=('run', 'order'), name='step_run_order_is_unique'),
        ),
        migrations.AddIndex(
            model_name='finding',
            index=models.Index(fields=['run', 'id'], name='findings_of_run'),
        ),
        migrations.AddConstraint(
            model_name='finding',
            constraint=models.UniqueConstraint(fields=('step_run', 'order'), name='finding_order_is_unique'),
        ),
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(condition=models.Q(('state__in', ['DISPATCHING', 'PENDING', 'RUNNING', 'UNKNOWN'])), fields=['checked_at'], name='active_attempts'),
        ),
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(condition=models.Q(('cancel_requested_at__isnull', False), ('execution_ended_at', None)), fields=['checked_at'], name='executions_to_cancel'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(fields=('step_run', 'number'), name='attempt_number_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['DISPATCHING', 'PENDING', 'RUNNING', 'UNKNOWN'])), fields=('step_run',), name='one_active_attempt_per_step'),
        ),
        migrations.AddConstraint(
            model_name='artifact',
            constraint=models.UniqueConstraint(fields=('step_run', 'name'), name='artifact_name_is_unique'),
        ),
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
    ]
