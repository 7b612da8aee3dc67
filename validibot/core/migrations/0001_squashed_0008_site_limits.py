"""The tables as of 0008: new databases get them in one step."""

import django.core.validators
import django.utils.timezone
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ("core", "0001_initial"),
        ("core", "0002_pending_mail"),
        ("core", "0003_shared_limits"),
        ("core", "0004_deployment"),
        ("core", "0005_site_settings"),
        ("core", "0006_scheduled_work"),
        ("core", "0007_request_count"),
        ("core", "0008_site_limits"),
    ]

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='CacheEntry',
            fields=[
                ('cache_key', models.CharField(max_length=255, primary_key=True, serialize=False)),
                ('value', models.TextField()),
                ('expires', models.DateTimeField(db_index=True)),
            ],
            options={
                'verbose_name_plural': 'cache entries',
                'db_table': 'core_cache',
            },
        ),
        migrations.CreateModel(
            name='FailureCount',
            fields=[
                ('key', models.CharField(max_length=200, primary_key=True, serialize=False)),
                ('count', models.PositiveIntegerField()),
                ('expires_at', models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name='PendingMail',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('sender', models.CharField(max_length=320)),
                ('recipients', models.JSONField()),
                ('subject', models.CharField(max_length=998)),
                ('text', models.TextField()),
                ('html', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='RequestCount',
            fields=[
                ('key', models.CharField(max_length=200, primary_key=True, serialize=False)),
                ('count', models.PositiveIntegerField()),
                ('expires_at', models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name='ScheduledWork',
            fields=[
                ('name', models.CharField(max_length=60, primary_key=True, serialize=False, verbose_name='work')),
                ('started_at', models.DateTimeField(blank=True, null=True, verbose_name='began')),
                ('ended_at', models.DateTimeField(blank=True, null=True, verbose_name='ended')),
                ('result', models.JSONField(blank=True, default=dict)),
                ('error', models.TextField(blank=True, verbose_name='error')),
            ],
            options={
                'verbose_name': 'periodic work',
                'verbose_name_plural': 'periodic work',
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Deployment',
            fields=[
                ('id', models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('database_id', models.UUIDField(default=uuid.uuid4, editable=False)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='deployment_is_one_row')],
            },
        ),
        migrations.CreateModel(
            name='Maintenance',
            fields=[
                ('id', models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('since', models.DateTimeField(auto_now_add=True)),
                ('note', models.CharField(blank=True, max_length=500)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='maintenance_is_one_row')],
            },
        ),
        migrations.CreateModel(
            name='SiteSettings',
            fields=[
                ('id', models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('sign_up', models.CharField(choices=[('open', 'Open to everybody'), ('invitation', 'By invitation only'), ('closed', 'Closed')], default='open', help_text='Who may make an account. Existing accounts can always sign in.', max_length=20, verbose_name='sign-up')),
                ('banner', models.CharField(blank=True, help_text='A text at the top of every page. Empty: no banner.', max_length=500, verbose_name='banner')),
                ('largest_file_megabytes', models.PositiveIntegerField(blank=True, help_text="Of a submission. The deployment's MAX_UPLOAD_BYTES holds in any case.", null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='largest file in MB')),
                ('workflows_per_organisation', models.PositiveIntegerField(blank=True, help_text='Those that exist stay. Empty: no limit.', null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='workflows per organisation')),
                ('members_per_organisation', models.PositiveIntegerField(blank=True, help_text='Those that exist stay. Empty: no limit.', null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='members per organisation')),
                ('schedules_per_organisation', models.PositiveIntegerField(blank=True, help_text='Those that exist stay. Empty: no limit.', null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='schedules per organisation')),
                ('organisations_per_user', models.PositiveIntegerField(blank=True, help_text='Those that exist stay. Empty: no limit.', null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='organisations per user')),
            ],
            options={
                'verbose_name': 'site settings',
                'verbose_name_plural': 'site settings',
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='site_settings_is_one_row')],
            },
        ),
        # A crash of the database forgets a minute of counts, and no request waits for the disk.
        migrations.RunSQL(
            "ALTER TABLE core_requestcount SET UNLOGGED",
            "ALTER TABLE core_requestcount SET LOGGED",
        ),
    ]
