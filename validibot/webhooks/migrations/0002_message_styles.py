"""The styles of messages get names of what they are for; Teams is a new one."""

from django.db import migrations, models

_NAMES = {"json": "standard", "text": "slack"}


def _rename(apps, names):
    webhooks = apps.get_model("webhooks", "Webhook").objects
    for old, new in names.items():
        webhooks.filter(style=old).update(style=new)


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0001_initial")]
    rows_may_change = (
        "The version before would send plain text to receivers of the standard style: pause the queue of "
        "webhooks until the new version has the traffic."
    )

    operations = [
        migrations.RunPython(
            lambda apps, _editor: _rename(apps, _NAMES),
            lambda apps, _editor: _rename(apps, {new: old for old, new in _NAMES.items()}),
        ),
        migrations.AlterField(
            "webhook",
            "style",
            models.CharField(
                choices=[
                    ("standard", "Standard Webhooks (JSON)"),
                    ("slack", "Slack, Mattermost and compatible services"),
                    ("teams", "Microsoft Teams (Workflows)"),
                ],
                default="standard",
                max_length=10,
            ),
        ),
    ]
