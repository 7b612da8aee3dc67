"""The weather that a step of a run was started with."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0008_unfinished_runs_index'),
    ]

    operations = [
        migrations.AddField(
            model_name='steprun',
            name='weather',
            field=models.JSONField(blank=True, null=True),
        ),
    ]
