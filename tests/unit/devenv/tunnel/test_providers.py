"""The contract with each tunnel program: its command line, and what its lines tell.

The lines have the form that the programs are documented and known to write; the values are ours.
"""

from typing import Any

import pytest

from devenv.tunnel.config import parse
from devenv.tunnel.providers import Provider, Sight, make
from tests.unit.devenv.tunnel.samples import URL, ssh, table

QUICK = """\
2026-03-02T09:15:01Z INF Thank you for trying Cloudflare Tunnel. (https://www.cloudflare.com/website-terms/)
2026-03-02T09:15:01Z INF Requesting new quick Tunnel on trycloudflare.com...
2026-03-02T09:15:04Z INF +-----------------------------------------------------------------------+
2026-03-02T09:15:04Z INF |  Your quick Tunnel has been created! Visit it at (it may take some time): |
2026-03-02T09:15:04Z INF |  https://green-paper-lamp-house.trycloudflare.com                     |
2026-03-02T09:15:04Z INF +-----------------------------------------------------------------------+
2026-03-02T09:15:04Z INF Version 2026.2.0
2026-03-02T09:15:05Z INF Registered tunnel connection connIndex=0 connection=00000000-0000-4000-8000-000000000000 event=0 ip=192.0.2.1 location=sea01 protocol=quic
"""
NGROK = """\
{"lvl":"info","msg":"no configuration paths supplied","t":"2026-03-02T09:15:01+0000"}
{"lvl":"info","msg":"client session established","obj":"csess","t":"2026-03-02T09:15:02+0000"}
{"addr":"http://127.0.0.1:8002","lvl":"info","msg":"started tunnel","name":"command_line","obj":"tunnels","t":"2026-03-02T09:15:02+0000","url":"https://ab12-192-0-2-1.ngrok-free.app"}
"""
SSH = """\
OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.17 1 Jul 2025
debug1: Connecting to dev.example.com [192.0.2.1] port 22.
Authenticated to dev.example.com ([192.0.2.1]:22) using "publickey".
debug1: Remote connections from 127.0.0.1:8080 forwarded to local address 127.0.0.1:8002
debug1: remote forward success for: listen 127.0.0.1:8080, connect 127.0.0.1:8002
"""


def _make(data: dict[str, Any]) -> Provider:
    return make(parse(data, jobs=["job"]))


def _sights(provider: Provider, lines: str) -> list[Sight]:
    seen = [provider.read(line) for line in lines.splitlines()]
    return [sight for sight in seen if sight != Sight()]


def test_quick_tunnel_needs_no_account() -> None:
    assert _make(table()).command(port=8002) == (
        *("cloudflared", "tunnel", "--no-autoupdate", "--metrics", "127.0.0.1:0"),
        *("--config", "/dev/null", "--url", "http://127.0.0.1:8002"),
    )


def test_named_tunnel_is_run_by_name() -> None:
    provider = _make(table(url=URL, cloudflared={"name": "dev"}))

    assert provider.command(port=8002)[-4:] == ("--url", "http://127.0.0.1:8002", "run", "dev")


def test_token_is_not_on_command_line() -> None:
    command = _make(table(url=URL)).command(port=8002)

    assert command[-1] == "run"
    assert not any("token" in part for part in command)


def test_cloudflared_lines_have_url_then_readiness() -> None:
    assert _sights(_make(table()), QUICK) == [
        Sight(url="https://green-paper-lamp-house.trycloudflare.com"),
        Sight(ready=True),
    ]


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        (
            'failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": no route',
            "",
        ),
        ("2026-03-02T09:15:05Z ERR Failed to dial a quic connection", "Failed to dial a quic"),
        ("2026-03-02T09:15:05Z FTL the tunnel is gone", "the tunnel is gone"),
    ],
)
def test_cloudflared_error_is_not_a_url(line: str, trouble: str) -> None:
    sight = _make(table()).read(line)

    assert (sight.url, sight.ready) == ("", False)
    assert sight.trouble.startswith(trouble)


def test_ngrok_inspection_is_off() -> None:
    command = _make(table(provider="ngrok", url=URL)).command(port=8002)

    assert command[:4] == ("ngrok", "http", "http://127.0.0.1:8002", "--inspect=false")
    assert command[-2:] == ("--url", URL)


def test_ngrok_line_has_url_and_readiness() -> None:
    assert _sights(_make(table(provider="ngrok")), NGROK) == [
        Sight(url="https://ab12-192-0-2-1.ngrok-free.app", ready=True)
    ]


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        (
            '{"lvl":"eror","err":"no authtoken\\r\\n\\r\\nERR_NGROK_4018"}',  # codespell:ignore eror
            "no auth",
        ),
        ('{"lvl":"crit","msg":"command failed","err":"<nil>"}', "command failed"),
        ("ERROR:  unknown flag: --url", "ERROR:  unknown flag"),
        ('{"lvl":"info","msg":"started tunnel","url":"tcp://0.tcp.ngrok.io:1"}', ""),
        ("[1]", ""),
        ("[" * 100_000, ""),
    ],
)
def test_ngrok_error_is_reported(line: str, trouble: str) -> None:
    sight = _make(table(provider="ngrok")).read(line)

    assert (sight.url, sight.ready) == ("", False)
    assert sight.trouble.startswith(trouble)
    assert "\n" not in sight.trouble


def test_ssh_never_prompts_and_fails_without_port() -> None:
    command = _make(ssh(identity_file="/keys/id", config_file="/keys/config")).command(port=8002)

    assert "BatchMode=yes" in command
    assert "ExitOnForwardFailure=yes" in command
    assert command[command.index("-R") + 1] == "127.0.0.1:8080:127.0.0.1:8002"
    assert command[command.index("-i") + 1] == "/keys/id"
    assert command[-2:] == ("--", "me@dev.example.com")


def test_ssh_is_ready_when_remote_listens() -> None:
    provider = _make(ssh())

    assert _sights(provider, SSH) == [Sight(ready=True)]
    assert not any(provider.worth_logging(line) for line in SSH.splitlines())


@pytest.mark.parametrize(
    "line",
    [
        "Error: remote port forwarding failed for listen port 8080",
        "me@dev.example.com: Permission denied (publickey).",
        "Host key verification failed.",
        "ssh: Could not resolve hostname dev.example.com: Name or service not known",
        "ssh: connect to host dev.example.com port 22: Connection refused",
        "Timeout, server dev.example.com not responding.",
    ],
)
def test_ssh_error_is_reported(line: str) -> None:
    provider = _make(ssh())

    assert provider.read(line).trouble == line
    assert provider.worth_logging(line)
