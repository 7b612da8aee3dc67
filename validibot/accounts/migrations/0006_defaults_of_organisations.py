"""The data region and the default project of organisations that exist already."""

from django.conf import settings
from django.db import migrations


def set_defaults(apps, schema_editor):
    organisations = apps.get_model("accounts", "Organisation").objects
    organisations.filter(data_region="").update(data_region=settings.DEFAULT_DATA_REGION)
    projects = apps.get_model("accounts", "Project").objects
    with_default = projects.filter(is_default=True).values("organisation")
    oldest = (
        projects.exclude(organisation__in=with_default)
        .order_by("organisation", "pk")
        .distinct("organisation")
    )
    projects.filter(pk__in=list(oldest.values_list("pk", flat=True))).update(is_default=True)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_organisations_and_roles")]

    operations = [migrations.RunPython(set_defaults, migrations.RunPython.noop)]
