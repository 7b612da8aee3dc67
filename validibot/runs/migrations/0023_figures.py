from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    # The table may be large: its index is built without a lock, which needs no transaction.
    atomic = False

    dependencies = [
        ('runs', '0022_concurrent_runs'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(condition=models.Q(('ended_at__isnull', False)), fields=['ended_at'], name='ended_runs'),
        ),
    ]
