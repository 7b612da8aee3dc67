"""The tables as of 0020: new databases get them in one step."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
import uuid
import validibot.workflows.checks
import validibot.workflows.inputs
import validibot.workflows.models.ai
import validibot.workflows.scenarios
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ("workflows", "0001_initial"),
        ("workflows", "0002_step_scenario"),
        ("workflows", "0003_freeze_versions"),
        ("workflows", "0004_accepts_further_files"),
        ("workflows", "0005_weather"),
        ("workflows", "0006_steps_enabled_and_failure"),
        ("workflows", "0007_step_conditions_and_signals"),
        ("workflows", "0008_default_assertions"),
        ("workflows", "0009_inputs"),
        ("workflows", "0010_retention"),
        ("workflows", "0011_launch_links"),
        ("workflows", "0012_fmu_description"),
        ("workflows", "0013_schedules"),
        ("workflows", "0014_step_severity"),
        ("workflows", "0015_trials"),
        ("workflows", "0016_ai_review"),
        ("workflows", "0017_fmu_requested_at"),
        ("workflows", "0018_custom_validators"),
        ("workflows", "0019_launch_link_token_digest"),
        ("workflows", "0020_featured_image"),
    ]

    dependencies = [
        ('accounts', '0001_squashed_0010_user_language'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Step',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order', models.PositiveIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
                ('name', models.CharField(max_length=150)),
                ('description', models.TextField(blank=True)),
                ('config', models.JSONField(blank=True, default=dict)),
                ('is_enabled', models.BooleanField(db_default=True, default=True)),
                ('when', models.TextField(blank=True, db_default='', default='')),
                ('signals', models.JSONField(blank=True, db_default=[], default=list, validators=[validibot.workflows.checks.check_signals])),
                ('message', models.TextField(blank=True, db_default='', default='')),
                ('success_message', models.TextField(blank=True, db_default='', default='')),
                ('on_failure', models.CharField(choices=[('stop', 'Stop'), ('continue', 'Continue with the next step')], db_default='stop', default='stop', max_length=10)),
                ('severity', models.CharField(choices=[('ERROR', 'Errors: the run fails'), ('WARNING', 'Warnings: the run can pass')], db_default='ERROR', default='ERROR', max_length=10)),
                ('scenario', models.CharField(blank=True, default='', help_text='How a mocked validator behaves in this step; real validators ignore it.', max_length=60, validators=[validibot.workflows.scenarios.check_scenario])),
                ('weather', models.CharField(blank=True, db_default='', default='', help_text='The weather of this step, by its name in the catalogue, unless a launch names another.', max_length=150)),
            ],
            options={
                'ordering': ['order'],
            },
        ),
        migrations.CreateModel(
            name='WeatherFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=150, unique=True)),
                ('location', models.CharField(blank=True, max_length=200)),
                ('files', models.JSONField()),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='AiEndpoint',
            fields=[
                ('id', models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('url', models.CharField(blank=True, help_text="The address before /chat/completions of an endpoint that speaks OpenAI's protocol, such as https://api.openai.com/v1. Empty: AI review is switched off.", max_length=500, validators=[validibot.workflows.models.ai.check_endpoint], verbose_name='address')),
                ('model', models.CharField(blank=True, help_text='The name that the endpoint knows.', max_length=150, verbose_name='model')),
                ('sealed_key', models.TextField(blank=True, editable=False)),
                ('max_document_bytes', models.PositiveIntegerField(default=100000, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1048576)], verbose_name='largest document in bytes')),
                ('max_answer_tokens', models.PositiveIntegerField(default=4000, validators=[django.core.validators.MinValueValidator(100), django.core.validators.MaxValueValidator(32000)], verbose_name='most tokens of an answer')),
                ('timeout_seconds', models.PositiveIntegerField(default=60, help_text='With all repetitions.', validators=[django.core.validators.MinValueValidator(5), django.core.validators.MaxValueValidator(300)], verbose_name='time limit of a review in seconds')),
                ('monthly_tokens', models.PositiveBigIntegerField(default=1000000, help_text='Further reviews are refused until the next month. 0: no limit.', verbose_name='tokens of an organisation in a month')),
            ],
            options={
                'verbose_name': 'AI endpoint',
                'verbose_name_plural': 'AI endpoint',
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='ai_endpoint_is_one_row')],
            },
        ),
        migrations.CreateModel(
            name='StepFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('port_key', models.CharField(max_length=255)),
                ('name', models.CharField(max_length=255)),
                ('type', models.CharField(max_length=100)),
                ('uri', models.CharField(max_length=1000)),
                ('storage_version', models.CharField(max_length=512)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('sha256', models.CharField(max_length=64)),
                ('step', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='files', to='workflows.step')),
            ],
        ),
        migrations.CreateModel(
            name='Assertion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order', models.PositiveIntegerField()),
                ('expression', models.TextField()),
                ('when', models.TextField(blank=True)),
                ('severity', models.CharField(choices=[('ERROR', 'Error'), ('WARNING', 'Warning'), ('INFO', 'Info')], default='ERROR', max_length=10)),
                ('message', models.TextField(blank=True)),
                ('success_message', models.TextField(blank=True)),
                ('path', models.CharField(blank=True, max_length=500)),
                ('notes', models.TextField(blank=True)),
                ('step', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='assertions', to='workflows.step')),
            ],
            options={
                'ordering': ['order'],
            },
        ),
        migrations.CreateModel(
            name='Validator',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(max_length=60)),
                ('version', models.CharField(max_length=40)),
                ('title', models.CharField(max_length=150)),
                ('description', models.TextField(blank=True)),
                ('validation_type', models.CharField(max_length=40)),
                ('engine', models.CharField(blank=True, max_length=60)),
                ('image', models.CharField(blank=True, max_length=300)),
                ('job', models.CharField(blank=True, max_length=63)),
                ('command', models.JSONField(blank=True, default=list)),
                ('accepts', models.JSONField(blank=True, default=list, validators=[validibot.workflows.checks.check_file_types])),
                ('ports', models.JSONField(blank=True, default=list)),
                ('outputs', models.JSONField(blank=True, default=list)),
                ('default_assertions', models.JSONField(blank=True, db_default=[], default=list, validators=[validibot.workflows.checks.check_default_assertions])),
                ('settings_json', models.TextField(blank=True, db_default='', default='')),
                ('roles', models.JSONField(blank=True, db_default=[], default=list)),
                ('job_state', models.CharField(choices=[('pending', 'Being prepared'), ('ready', 'Ready'), ('refused', 'Refused')], db_default='ready', default='ready', max_length=10)),
                ('job_error', models.TextField(blank=True, db_default='', default='')),
                ('accepts_further_files', models.BooleanField(default=False)),
                ('timeout_seconds', models.PositiveIntegerField(default=600)),
                ('memory_mb', models.PositiveIntegerField(default=512)),
                ('is_active', models.BooleanField(default=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('organisation', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='custom_validators', to='accounts.organisation')),
            ],
        ),
        migrations.AddField(
            model_name='step',
            name='validator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.RESTRICT, related_name='steps', to='workflows.validator'),
        ),
        migrations.CreateModel(
            name='Workflow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('slug', models.SlugField(max_length=60)),
                ('version', models.PositiveIntegerField(default=1)),
                ('name', models.CharField(max_length=150)),
                ('description', models.TextField(blank=True)),
                ('is_active', models.BooleanField(default=True)),
                ('is_trial', models.BooleanField(db_default=False, default=False, editable=False)),
                ('constants', models.JSONField(blank=True, default=list, validators=[validibot.workflows.checks.check_constants])),
                ('success_message', models.TextField(blank=True)),
                ('accepted_types', models.JSONField(blank=True, db_default=[], default=list, help_text='Extensions that a submission may have. Empty: those that the first step accepts.', validators=[validibot.workflows.checks.check_extensions])),
                ('input_schema', models.TextField(blank=True, db_default='', default='', help_text='JSON Schema of the metadata that a launch gives.', validators=[validibot.workflows.inputs.check_input_schema])),
                ('input_retention_days', models.PositiveIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(36500)])),
                ('result_retention_days', models.PositiveIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(36500)])),
                ('revision', models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('frozen_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('author', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('organisation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='workflows', to='accounts.organisation')),
                ('project', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='workflows', to='accounts.project')),
            ],
            options={
                'ordering': ['name', '-version'],
            },
        ),
        migrations.AddField(
            model_name='step',
            name='workflow',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='workflows.workflow'),
        ),
        migrations.CreateModel(
            name='Sample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('title', models.CharField(max_length=150)),
                ('filename', models.CharField(max_length=255)),
                ('content', models.BinaryField()),
                ('passes', models.BooleanField()),
                ('metadata', models.JSONField(blank=True, db_default={}, default=dict)),
                ('workflow', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='samples', to='workflows.workflow')),
            ],
            options={
                'ordering': ['-passes', 'filename'],
            },
        ),
        migrations.CreateModel(
            name='WorkflowImage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('workflow', models.SlugField(db_index=False, max_length=60)),
                ('content', models.BinaryField()),
                ('sha256', models.CharField(max_length=64)),
                ('width', models.PositiveIntegerField()),
                ('height', models.PositiveIntegerField()),
                ('organisation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='workflow_images', to='accounts.organisation')),
            ],
        ),
        migrations.CreateModel(
            name='WorkflowSchedule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('workflow', models.SlugField(db_index=False, max_length=60)),
                ('name', models.CharField(max_length=150)),
                ('cron', models.CharField(max_length=100)),
                ('time_zone', models.CharField(max_length=50)),
                ('url', models.CharField(blank=True, max_length=500)),
                ('filename', models.CharField(blank=True, max_length=200)),
                ('uri', models.CharField(blank=True, max_length=1000)),
                ('storage_version', models.CharField(blank=True, max_length=512)),
                ('size_bytes', models.PositiveBigIntegerField(default=0)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('next_at', models.DateTimeField(blank=True, null=True)),
                ('last_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('organisation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='schedules', to='accounts.organisation')),
            ],
            options={
                'ordering': ['name', 'pk'],
            },
        ),
        migrations.CreateModel(
            name='AiUsage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('month', models.DateField()),
                ('tokens', models.PositiveBigIntegerField(default=0)),
                ('requests', models.PositiveIntegerField(default=0)),
                ('organisation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='ai_usage', to='accounts.organisation')),
            ],
            options={
                'verbose_name_plural': 'AI usage',
                'ordering': ['-month'],
                'constraints': [models.UniqueConstraint(fields=('organisation', 'month'), name='ai_usage_of_month')],
            },
        ),
        migrations.CreateModel(
            name='FmuDescription',
            fields=[
                ('file', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='fmu', serialize=False, to='workflows.stepfile')),
                ('state', models.CharField(choices=[('pending', 'To be read'), ('read', 'Read'), ('refused', 'Refused')], default='pending', max_length=10)),
                ('error', models.TextField(blank=True)),
                ('variables', models.JSONField(default=list)),
                ('is_complete', models.BooleanField(default=True)),
                ('requested_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), default=django.utils.timezone.now)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('state', 'pending')), fields=['requested_at'], name='fmu_to_be_read')],
            },
        ),
        migrations.CreateModel(
            name='LaunchLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('workflow', models.SlugField(db_index=False, max_length=60)),
                ('name', models.CharField(max_length=150)),
                ('token_digest', models.CharField(db_column='digest', max_length=64, unique=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('expires_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('max_launches', models.PositiveIntegerField(validators=[django.core.validators.MinValueValidator(1)])),
                ('launches', models.PositiveIntegerField(default=0)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('organisation', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='launch_links', to='accounts.organisation')),
            ],
            options={
                'ordering': ['-created_at'],
                'indexes': [models.Index(fields=['organisation', 'workflow'], name='launch_links_of_workflow')],
            },
        ),
        migrations.AddConstraint(
            model_name='stepfile',
            constraint=models.UniqueConstraint(fields=('step', 'port_key'), name='one_file_per_port', violation_error_message='The step has a file for this port already.'),
        ),
        migrations.AddConstraint(
            model_name='assertion',
            constraint=models.UniqueConstraint(fields=('step', 'order'), name='assertion_order_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='validator',
            constraint=models.UniqueConstraint(condition=models.Q(('organisation', None)), fields=('slug', 'version'), name='validator_version_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='validator',
            constraint=models.UniqueConstraint(fields=('organisation', 'slug', 'version'), name='custom_validator_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='workflow',
            constraint=models.UniqueConstraint(fields=('organisation', 'slug', 'version'), name='workflow_version_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='step',
            constraint=models.UniqueConstraint(fields=('workflow', 'order'), name='step_order_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='sample',
            constraint=models.UniqueConstraint(fields=('workflow', 'filename'), name='sample_filename_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='workflowimage',
            constraint=models.UniqueConstraint(fields=('organisation', 'workflow'), name='one_image_per_workflow'),
        ),
        migrations.AddIndex(
            model_name='workflowschedule',
            index=models.Index(fields=['organisation', 'workflow'], name='schedules_of_workflow'),
        ),
        migrations.AddIndex(
            model_name='workflowschedule',
            index=models.Index(condition=models.Q(('next_at__isnull', False)), fields=['next_at'], name='schedules_by_time'),
        ),
        migrations.AddConstraint(
            model_name='workflowschedule',
            constraint=models.CheckConstraint(condition=models.Q(('url', ''), ('uri', ''), _connector='XOR'), name='schedule_has_one_source'),
        ),
    ]
