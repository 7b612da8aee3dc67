from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0006_scheduled_work")]

    operations = [
        migrations.CreateModel(
            name="RequestCount",
            fields=[
                ("key", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("count", models.PositiveIntegerField()),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
        ),
        # A crash of the database forgets a minute of counts, and no request waits for the disk.
        migrations.RunSQL(
            "ALTER TABLE core_requestcount SET UNLOGGED",
            "ALTER TABLE core_requestcount SET LOGGED",
        ),
    ]
