"""Files that are sent beside a submission."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('submissions', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='submission',
            name='further_file_count',
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
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
                'constraints': [models.CheckConstraint(condition=models.Q(('inline__isnull', True), ('uri', ''), _connector='XOR'), name='submissionfile_is_inline_or_stored'), models.UniqueConstraint(fields=('submission', 'order'), name='submission_file_order_is_unique')],
            },
        ),
    ]
