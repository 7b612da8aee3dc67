from django.db import migrations


class Migration(migrations.Migration):
    """Receipts are those of callbacks; the evidence of a run is another thing."""

    dependencies = [
        ("runs", "0005_run_evidence"),
    ]

    operations = [
        migrations.RenameModel(old_name="Receipt", new_name="CallbackReceipt"),
    ]
