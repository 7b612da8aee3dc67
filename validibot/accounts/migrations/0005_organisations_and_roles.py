"""Roles, guests, invitations, service accounts, scopes of API keys, and colours of projects."""

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import validibot.accounts.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0004_deletion_requested_at'),
    ]

    operations = [
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('email', models.EmailField(max_length=254)),
                ('role', models.CharField(blank=True, choices=[('owner', 'Owner'), ('admin', 'Admin'), ('author', 'Author'), ('executor', 'Executor'), ('results_viewer', 'Results viewer'), ('analytics_viewer', 'Analytics viewer'), ('viewer', 'Viewer')], max_length=20)),
                ('workflows', models.JSONField(blank=True, default=list)),
                ('access', models.CharField(choices=[('view', 'View'), ('launch', 'View and start runs')], default='view', max_length=10)),
                ('token_digest', models.CharField(max_length=64, unique=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('sent_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('expires_at', models.DateTimeField()),
                ('accepted_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['-sent_at'],
            },
        ),
        migrations.CreateModel(
            name='WorkflowGrant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('workflow', models.SlugField(db_index=False, max_length=60)),
                ('access', models.CharField(choices=[('view', 'View'), ('launch', 'View and start runs')], default='view', max_length=10)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.AlterModelOptions(
            name='project',
            options={'ordering': [django.db.models.functions.text.Lower('name'), 'pk']},
        ),
        migrations.AddField(
            model_name='apikey',
            name='replaced_by',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to='accounts.apikey'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='scopes',
            field=models.CharField(db_default='read launch manage', default='read launch manage', max_length=60),
        ),
        migrations.AddField(
            model_name='organisation',
            name='data_region',
            field=models.CharField(db_default='', default=validibot.accounts.models.default_data_region, max_length=40),
        ),
        migrations.AddField(
            model_name='project',
            name='colour',
            field=models.CharField(choices=[('teal', 'Teal'), ('green', 'Green'), ('amber', 'Amber'), ('orange', 'Orange'), ('rose', 'Rose'), ('violet', 'Violet'), ('blue', 'Blue'), ('slate', 'Slate')], db_default='teal', default='teal', max_length=10),
        ),
        migrations.AddField(
            model_name='project',
            name='is_default',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='user',
            name='service_of',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='service_accounts', to='accounts.organisation'),
        ),
        migrations.AlterField(
            model_name='membership',
            name='role',
            field=models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('author', 'Author'), ('executor', 'Executor'), ('results_viewer', 'Results viewer'), ('analytics_viewer', 'Analytics viewer'), ('viewer', 'Viewer')], default='viewer', max_length=20),
        ),
        migrations.AddConstraint(
            model_name='project',
            constraint=models.UniqueConstraint(condition=models.Q(('is_default', True)), fields=('organisation',), name='one_default_project'),
        ),
        migrations.AddField(
            model_name='invitation',
            name='accepted_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='invitations_accepted', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='invitation',
            name='invited_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='invitations_sent', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='invitation',
            name='organisation',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='accounts.organisation'),
        ),
        migrations.AddField(
            model_name='workflowgrant',
            name='organisation',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='grants', to='accounts.organisation'),
        ),
        migrations.AddField(
            model_name='workflowgrant',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='grants', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='invitation',
            constraint=models.UniqueConstraint(condition=models.Q(('accepted_at', None), ('revoked_at', None)), fields=('organisation', 'email'), name='one_open_invitation_per_address'),
        ),
        migrations.AddConstraint(
            model_name='workflowgrant',
            constraint=models.UniqueConstraint(fields=('organisation', 'user', 'workflow'), name='one_grant_per_workflow'),
        ),
    ]
