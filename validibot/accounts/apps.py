"""App configuration."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "validibot.accounts"

    def ready(self) -> None:
        # Models may be imported only now.
        from validibot.accounts import sign_ins  # noqa: PLC0415

        sign_ins.connect()
