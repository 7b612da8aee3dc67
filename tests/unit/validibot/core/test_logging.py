"""Log lines of requests."""

import json
import logging
from io import StringIO
from uuid import UUID

import pytest
from django.test import Client

from validibot.core.logging import JsonFormatter, LogfmtFormatter, bound_run


@pytest.mark.django_db
def test_keys_in_mailed_and_shared_links_are_not_logged(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "validibot.request")
    client.get("/accounts/confirm-email/s3cr3t/")
    client.get("/accounts/password/reset/key/1-s3cr3t/")
    client.get("/invitations/s3cr3t/")
    client.get("/shared/s3cr3t/")
    client.get("/app/")

    # Django itself logs the path of what is not found, which is no secret that opens anything.
    logged = [record for record in caplog.records if record.name == "validibot.request"]
    lines = [record.getMessage() for record in logged]
    assert not [line for line in lines if "s3cr3t" in line]
    assert lines[-1] == "GET /app/ 302"


@pytest.mark.parametrize("given", ["a1b2c3d4-e5f6-7890-abcd-ef0123456789", "0" * 200])
def test_request_id_of_router_is_kept(client: Client, given: str) -> None:
    answer = client.get("/api/nowhere/", headers={"X-Request-ID": given})

    assert answer.headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "short", "0" * 201, 'a"b' * 10, "å" * 30])
def test_any_other_name_is_replaced(client: Client, given: str) -> None:
    answer = client.get("/api/nowhere/", headers={"X-Request-ID": given})

    assert str(UUID(answer.headers["X-Request-ID"])) != given


def test_log_lines_of_a_request_have_its_id(client: Client) -> None:
    lines = StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("validibot.request")
    logger.addHandler(handler)
    answer = client.get("/api/nowhere/")
    logger.removeHandler(handler)

    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert (line["message"], line["severity"]) == ("GET /api/nowhere/ 404", "INFO")


def _record(message: str, **extra: str) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "validibot", "levelname": "ERROR", "msg": message, "created": 0.0, "msecs": 0.0}
        | extra
    )


def test_logfmt_is_one_line_whatever_is_in_it() -> None:
    with bound_run("r1"):
        line = LogfmtFormatter().format(_record('a "b"\nc=d', path="/x", empty=""))

    assert line == (
        r'severity=ERROR message="a \"b\"\nc=d" time=1970-01-01T00:00:00.000Z logger=validibot'
        r' run_id=r1 path=/x empty=""'
    )


@pytest.mark.parametrize("formatter", [JsonFormatter(), LogfmtFormatter()])
def test_exception_is_logged_on_one_line(formatter: logging.Formatter) -> None:
    record = _record("failed")
    error = ValueError("wrong\nvery")
    record.exc_info = (ValueError, error, None)

    line = formatter.format(record)

    assert "\n" not in line
    assert "ValueError" in line
