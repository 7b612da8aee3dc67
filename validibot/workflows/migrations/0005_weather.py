"""The weather catalogue, and the weather of steps."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0004_accepts_further_files'),
    ]

    operations = [
        migrations.CreateModel(
            name='WeatherFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=150, unique=True)),
                ('location', models.CharField(blank=True, max_length=200)),
                ('files', models.JSONField()),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.AddField(
            model_name='step',
            name='weather',
            field=models.CharField(blank=True, db_default='', default='', help_text='The weather of this step, by its name in the catalogue, unless a launch names another.', max_length=150),
        ),
    ]
