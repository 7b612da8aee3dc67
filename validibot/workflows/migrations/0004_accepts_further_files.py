"""Validators that take files beside the submission."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0003_freeze_versions'),
    ]

    operations = [
        migrations.AddField(
            model_name='validator',
            name='accepts_further_files',
            field=models.BooleanField(default=False),
        ),
    ]
