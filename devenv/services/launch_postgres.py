"""Launcher of PostgreSQL: creates the data folder, drops root, executes the server.

PostgreSQL refuses root. A user namespace in which we have another number satisfies it without
an account and without changing the owner of any file; where a container forbids namespaces, an
existing unprivileged account has to do.
"""

import argparse
import os
import pwd
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGINT

from devenv.secrets import POSTGRES_PASSWORD, Secrets
from devenv.services.builtin import postgres_binaries
from devenv.stack.process import set_parent_death_signal

_NOBODY = 65534

# A crash of PostgreSQL loses nothing that was committed: the operating system has it already.
# Only a power cut could, and this is a laptop's database: so nothing waits for the disk.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    "jit": "off",
    "unix_socket_directories": "",
    "log_line_prefix": "",
    "log_checkpoints": "off",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", default="app", help="also the name of the role that owns it")
    parser.add_argument("--secrets", type=Path, required=True)
    arguments = parser.parse_args()
    password = Secrets.load(arguments.secrets, {})[POSTGRES_PASSWORD]
    folder: Path = arguments.data
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        step_down(folder)
    cluster = folder / "cluster"
    if not cluster.exists():
        create(cluster, name=arguments.database, password=password)
    # A change of identity made the kernel forget what the supervisor had asked for.
    set_parent_death_signal(SIGINT)
    os.execv(postgres_binaries() / "postgres", server_command(cluster, port=arguments.port))


def server_command(cluster: Path, *, port: int) -> list[str]:
    settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
    return [
        str(postgres_binaries() / "postgres"),
        "-D",
        str(cluster),
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        *settings,
    ]


def create(cluster: Path, *, name: str, password: str) -> None:
    """Make a data folder with a role and its database of one name; whole or not at all."""
    draft = cluster.with_name("cluster.new")
    shutil.rmtree(draft, ignore_errors=True)
    password_file = cluster.with_name("password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    _run(
        *(
            postgres_binaries() / "initdb",
            "-D",
            draft,
            f"--username={name}",
            f"--pwfile={password_file}",
        ),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--no-instructions"),
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    password_file.unlink()
    _run(
        postgres_binaries() / "postgres",
        "--single",
        "-D",
        draft,
        "postgres",
        text=f"CREATE DATABASE {name}\n",
    )
    draft.rename(cluster)


def step_down(folder: Path) -> None:
    """Stop being root in PostgreSQL's eyes. Raises SystemExit where there is no way."""
    if sys.platform != "linux":
        raise SystemExit("PostgreSQL does not run as root. Run make as an ordinary user.")
    uid, gid = os.getuid(), os.getgid()
    try:
        os.unshare(os.CLONE_NEWUSER)
    except (AttributeError, OSError):  # Python 3.11 cannot
        _become_nobody(folder)
        return
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_NOBODY} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{_NOBODY} {gid} 1")


def _become_nobody(folder: Path) -> None:
    account = pwd.getpwnam("nobody")
    folder.parent.chmod(0o711)  # to pass through, not to look around
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    with suppress(PermissionError):
        os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if not os.access(folder, os.W_OK) or not os.access(postgres_binaries() / "postgres", os.X_OK):
        raise SystemExit(
            f"PostgreSQL does not run as root, and the account nobody cannot reach {folder}. "
            "Run make as an ordinary user, or move this folder to where others may read."
        )


def _run(*command: str | Path, text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
