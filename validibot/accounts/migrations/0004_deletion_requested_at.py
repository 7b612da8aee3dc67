"""Organisations whose deletion was requested."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_launch_quota")]

    operations = [
        migrations.AddField(
            model_name="organisation",
            name="deletion_requested_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]
