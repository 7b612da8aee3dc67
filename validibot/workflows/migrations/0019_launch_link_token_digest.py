from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0018_custom_validators'),
    ]

    # The column keeps its name: processes of the version before go on using it.
    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameField('launchlink', 'digest', 'token_digest'),
                migrations.AlterField(
                    model_name='launchlink',
                    name='token_digest',
                    field=models.CharField(db_column='digest', max_length=64, unique=True),
                ),
            ],
        ),
    ]
