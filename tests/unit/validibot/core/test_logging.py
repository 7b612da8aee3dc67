"""What is logged of a request."""

import pytest
from django.test import Client


@pytest.mark.django_db
def test_the_keys_in_mailed_links_are_not_logged(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "validibot.request")
    client.get("/accounts/confirm-email/s3cr3t/")
    client.get("/accounts/password/reset/key/1-s3cr3t/")
    client.get("/app/")

    lines = [record.getMessage() for record in caplog.records]
    assert not [line for line in lines if "s3cr3t" in line]
    assert lines[-1] == "GET /app/ 302"
