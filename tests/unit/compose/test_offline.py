"""Unit tests of the scripts for machines without a registry, on a PATH of stand-ins."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

OFFLINE = Path(__file__).parents[3] / "compose" / "offline"
_REAL = "awk bash cat cksum cut dirname env find id sort tail touch wc xargs"
_LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7"


@dataclass(frozen=True)
class Machine:
    """A PATH with a few real programs and stand-ins, which write their calls to a file."""

    folder: Path

    def add(self, name: str, script: str = "exit 0") -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>"{self.folder}/calls"\n{script}\n')
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def run(
        self, script: str, *arguments: str, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.folder / "bash"), str(OFFLINE / script), *arguments],
            env={"PATH": str(self.folder), "HOME": str(self.folder)} | variables,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in _REAL.split():
        found = shutil.which(name)
        assert found, name
        (tmp_path / name).symlink_to(found)
    made = Machine(tmp_path)
    made.add("id", "echo 0")
    made.add("sleep")
    return made


def test_packages_are_installed_once_the_lock_is_free(machine: Machine) -> None:
    busy = f'[ "$(wc -l <"{machine.folder}/calls")" -gt 4 ] || {{ echo "{_LOCKED}"; exit 100; }}'
    machine.add("apt-get", f"[[ $* != *update ]] || {busy}")

    done = machine.run("apt.sh", "curl", "iproute2")

    assert done.returncode == 0, done.stderr
    assert machine.calls[1:-1] == [*["apt-get -qq update", "sleep 1"] * 2, "apt-get -qq update"]
    assert machine.calls[-1] == (
        "apt-get install -y -qq -o DPkg::Lock::Timeout=600 --no-install-recommends curl iproute2"
    )


def test_other_failure_of_update_ends_at_once_with_its_reason(machine: Machine) -> None:
    machine.add("apt-get", 'echo "E: The repository is not signed"; exit 100')

    done = machine.run("apt.sh", "curl")

    assert (done.returncode, done.stderr) == (1, "E: The repository is not signed\n")
    assert [call for call in machine.calls if call.startswith(("sleep", "apt-get install"))] == []


def test_ordinary_user_without_sudo_is_told_so(machine: Machine) -> None:
    machine.add("id", "echo 1000")

    done = machine.run("apt.sh", "curl")

    assert (done.returncode, done.stderr) == (
        1,
        "To install curl takes root, and there is no sudo here.\n",
    )


@dataclass(frozen=True)
class Lack:
    """Something that a machine lacks, and what `make images-offline` says about it."""

    program: str
    script: str | None
    says: str


LACKS = [
    Lack("docker", "exit 1", "No Docker engine answers."),
    Lack("apt-get", None, "there is no apt-get here."),
    Lack("apt-get", "exit 0", "apt on this machine knows no Debian archive."),
    Lack("debootstrap", None, "Next: compose/offline/apt.sh debootstrap"),
]


@pytest.fixture
def offline(machine: Machine) -> Machine:
    """Return a machine that has everything to make images, but none of them."""
    machine.add("docker", "[[ $1 == info ]]")
    machine.add("apt-get", "echo 'Debian|Debian|http://mirror.invalid/debian/'")
    machine.add("debootstrap")
    return machine


def check(machine: Machine, *names: str) -> "subprocess.CompletedProcess[str]":
    return machine.run("images.sh", *names, ONLY_CHECK="1", DEBIAN_KEYRING=os.devnull)


def test_complete_machine_passes_the_check(offline: Machine) -> None:
    done = check(offline)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not any(call.startswith("debootstrap") for call in offline.calls)


@pytest.mark.parametrize("lack", LACKS, ids=lambda lack: lack.says)
def test_missing_part_is_named_before_anything_is_made(offline: Machine, lack: Lack) -> None:
    if lack.script is None:
        (offline.folder / lack.program).unlink()
    else:
        offline.add(lack.program, lack.script)

    done = check(offline)

    assert done.returncode == 1
    assert lack.says in done.stderr


def test_image_that_is_there_needs_no_debootstrap(offline: Machine) -> None:
    offline.add("docker")  # every image is there, without our label
    (offline.folder / "debootstrap").unlink()

    assert check(offline).returncode == 0


def test_unknown_image_names_the_known_ones(offline: Machine) -> None:
    done = check(offline, "redis")

    assert done.returncode == 1
    assert "There is no base image 'redis'; NAME is one of: debian python" in done.stderr
