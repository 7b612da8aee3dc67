"""Restrictions of our containers, tested by a program inside."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from containers import ContainerMount, Network, NetworkPeer
from tests.docker.room import MIB, PYTHON, Room, room, until_it_says
from tests.waiting import until

__all__ = ["room"]

INSIDE = """
    import json, os, resource, subprocess
    def read(path):
        try:
            return open(path).read().strip()
        except OSError:
            return ""
    def attempt(path):
        try:
            open(path, "w").close()
            return "written"
        except OSError as error:
            return error.strerror
    cgroup = "/sys/fs/cgroup/"
    mounts = (line.split() for line in read("/proc/mounts").splitlines())
    print(json.dumps({
        "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
        "status": dict(line.split(":", 1) for line in read("/proc/self/status").splitlines()),
        "init": read("/proc/1/comm"),
        "mounts": {mount[1]: mount[2:4] for mount in mounts},
        "writes": {path: attempt(path) for path in ("/x", "/etc/x", "/usr/bin/x", "/tmp/x", "/dev/shm/x")},
        "memory": read(cgroup + "memory/memory.limit_in_bytes") or read(cgroup + "memory.max"),
        "swap": read(cgroup + "memory/memory.memsw.limit_in_bytes") or read(cgroup + "memory.swap.max"),
        "cpu": read(cgroup + "cpu/cpu.cfs_quota_us") + " " + read(cgroup + "cpu/cpu.cfs_period_us"),
        "cpu2": read(cgroup + "cpu.max"),
        "pids": read(cgroup + "pids/pids.max") or read(cgroup + "pids.max"),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "network": os.listdir("/sys/class/net"),
        "env": dict(os.environ),
        "sudo": subprocess.run(["su", "-c", "id"], stdin=subprocess.DEVNULL, capture_output=True).returncode,
    }))
"""


@pytest.fixture(scope="module")
def inside(room: Room) -> dict[str, Any]:
    ran = room.run(INSIDE, cpus=0.5, pids=50, scratch_bytes=8 * MIB, env={"GIVEN": "yes"})
    seen: dict[str, Any] = json.loads(ran.log)
    return seen


def test_user_does_not_exist_on_host(inside: dict[str, Any]) -> None:
    assert inside["uid"] == inside["gid"] == [1000, 1000, 1000]
    assert inside["groups"] in ([], [1000])


def test_container_has_no_capabilities(inside: dict[str, Any]) -> None:
    kinds = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

    assert {int(inside["status"][kind], 16) for kind in kinds} == {0}
    assert inside["status"]["NoNewPrivs"].strip() == "1"
    assert inside["sudo"] != 0


def test_system_calls_are_filtered(inside: dict[str, Any]) -> None:
    assert inside["status"]["Seccomp"].strip() == "2"


def test_only_scratch_folder_is_writable(inside: dict[str, Any]) -> None:
    refused = "Read-only file system"

    assert inside["writes"].pop("/tmp/x") == inside["writes"].pop("/dev/shm/x") == "written"
    assert set(inside["writes"].values()) <= {refused, "Permission denied"}
    assert "ro" in inside["mounts"]["/"][1].split(",")


def test_scratch_folder_is_limited_tmpfs(inside: dict[str, Any]) -> None:
    kind, options = inside["mounts"]["/tmp"]

    assert kind == "tmpfs"
    assert {"nosuid", "nodev", "size=8192k"} <= set(options.split(","))
    assert "noexec" not in options  # an FMU's native code is loaded from there


def test_memory_is_limited_without_swap(inside: dict[str, Any]) -> None:
    assert inside["memory"] == str(64 * MIB)
    assert inside["swap"] in (str(64 * MIB), "0")


def test_cpus_and_processes_are_limited(inside: dict[str, Any]) -> None:
    assert {inside["cpu"].strip(), inside["cpu2"]} == {"50000 100000", ""}
    assert inside["pids"] == "50"


def test_core_files_and_open_files_are_limited(inside: dict[str, Any]) -> None:
    assert inside["core"] == [0, 0]
    assert inside["files"] == [4096, 4096]


def test_network_none_has_loopback_only(inside: dict[str, Any]) -> None:
    assert inside["network"] == ["lo"]


def test_environment_is_the_given_one(inside: dict[str, Any]) -> None:
    known = {"PATH", "HOSTNAME", "HOME", "LC_CTYPE", "GIVEN"}

    assert set(inside["env"]) <= known | {name for name in inside["env"] if "PYTHON" in name}
    assert inside["env"]["HOME"] == "/tmp"


def test_orphaned_children_are_reaped(room: Room, inside: dict[str, Any]) -> None:
    orphan = """
        import os, pathlib, time
        if not os.fork():
            if not os.fork():
                os._exit(0)
            os._exit(0)
        os.wait()
        time.sleep(0.2)
        print([p.name for p in pathlib.Path("/proc").glob("[0-9]*") if "Z" in (p / "stat").read_text()])
    """

    assert inside["init"] == "docker-init"
    assert room.run(orphan).log == "[]"


def test_container_carries_owner_labels(room: Room) -> None:
    with room.running("pass", labels={"io.validibot.run": "7"}) as container:
        labels = room.api.inspect_container(container.id)["Config"]["Labels"]

    assert labels["io.validibot.managed"] == "true"
    assert labels["io.validibot.owner"] == room.engine.owner
    assert labels["io.validibot.run"] == "7"


def test_processes_and_shared_memory_of_others_are_hidden(room: Room) -> None:
    with room.running("pass") as container:
        host = room.api.inspect_container(container.id)["HostConfig"]

    assert (host["IpcMode"], host["PidMode"], host["Privileged"]) == ("private", "", False)


def test_declared_volume_of_image_is_limited(room: Room) -> None:
    bearer = room.api.create_container(PYTHON, ["true"])["Id"]
    tag = room.engine.owner
    room.api.commit(bearer, tag, changes=["VOLUME /data"])
    room.api.remove_container(bearer)
    try:
        ran = room.run(
            "print([line.split()[2] for line in open('/proc/mounts') if ' /data ' in line])",
            image=tag,
        )
    finally:
        room.api.remove_image(tag)

    assert ran.log == "['tmpfs']"


def test_held_files_are_read_only(room: Room) -> None:
    held = room.engine.hold("files", {"a.txt": b"hello"}, image=PYTHON)
    source = """
        print(open("/held/a.txt").read())
        try:
            open("/held/b.txt", "w")
        except OSError as error:
            print(error.strerror)
    """

    ran = room.run(source, mounts=(ContainerMount(source=held, target="/held"),))

    assert ran.log == "hello\nRead-only file system"


@pytest.fixture
def greeter(room: Room) -> Iterator[tuple[str, int]]:
    """A server on this machine that containers may reach."""
    with socket.create_server((room.engine.callback_network().gateway, 0)) as server:

        def greet() -> None:
            with suppress(OSError):
                client, _ = server.accept()
                client.sendall(b"hello")
                client.close()

        threading.Thread(target=greet, daemon=True).start()
        yield server.getsockname()


ASK = """
    import socket, time
    def ask(address, port, seconds=1):
        try:
            with socket.create_connection((address, port), seconds) as server:
                return server.recv(10).decode() or "connected"
        except OSError as error:
            return type(error).__name__
    began = time.monotonic()
    try:
        socket.getaddrinfo("example.com", 80)
        name = "found"
    except OSError:
        name = "unknown"
    slow = time.monotonic() - began > 9
"""


def test_network_none_reaches_nothing(room: Room) -> None:
    ran = room.run(f"{ASK}\n    print(ask('1.1.1.1', 80), ask('172.17.0.1', 22), name, slow)")

    assert ran.log == "OSError OSError unknown False"


def test_callback_network_reaches_host_only(room: Room, greeter: tuple[str, int]) -> None:
    source = f"{ASK}\n    print(ask('1.1.1.1', 80), ask(*{greeter}, seconds=60), name, slow)"

    ran = room.run(source, network=Network.CALLBACK)

    assert ran.log in (
        "TimeoutError hello unknown False",  # dropped on the way
        "OSError hello unknown False",  # no way
    )


def test_containers_cannot_reach_each_other(room: Room) -> None:
    listen = """
        import socket
        server = socket.create_server(("", 8000))
        print("listening", flush=True)
        server.accept()
    """
    with room.running(listen, network=Network.CALLBACK) as neighbour:
        until(lambda: log_lines(room, neighbour.id))
        address = address_of(room, neighbour.id)
        ran = room.run(f"{ASK}\n    print(ask({address!r}, 8000))", network=Network.CALLBACK)

    assert ran.log in ("TimeoutError", "OSError", "ConnectionRefusedError")


SERVE = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"


@pytest.fixture
def peer(room: Room) -> Iterator[NetworkPeer]:
    """A container with a server that has another owner."""
    made = room.api.create_container(PYTHON, ["python3", "-uc", SERVE])["Id"]
    try:
        room.api.start(made)
        until(lambda: b"Serving HTTP" in log_lines(room, made))
        yield NetworkPeer(made[:12], "cloud")
    finally:
        room.api.remove_container(made, force=True)


def test_container_with_peer_reaches_peer_only(room: Room, peer: NetworkPeer) -> None:
    fields = {"network": Network.CALLBACK, "peer": peer}
    with room.running(SERVE, **fields) as neighbour:
        until_it_says(neighbour, "Serving HTTP")
        address = address_of(room, neighbour.id)
        source = f"""
            import socket
            for host in ("cloud", {address!r}, "1.1.1.1", "172.17.0.1"):
                try:
                    socket.create_connection((host, 8000), 60 if host == "cloud" else 1)
                    print(host)
                except OSError:
                    pass
        """
        ran = room.run(source, **fields)

    assert ran.log == "cloud"
    assert not [each for each in room.left() if "io.validibot.name" in each["Labels"]]


def test_new_peer_joins_network_of_found_container(room: Room, peer: NetworkPeer) -> None:
    sleep = "import time; time.sleep(600)"
    with room.running(sleep, network=Network.CALLBACK, peer=peer) as container:
        [network] = room.api.inspect_container(container.id)["NetworkSettings"]["Networks"]
        room.api.disconnect_container_from_network(peer.container, network, force=True)

        found = room.engine.find(container.name, peer=peer)

        assert found is not None
        assert len(room.api.inspect_network(network)["Containers"]) == 2


def test_sweep_removes_network_without_container(room: Room, peer: NetworkPeer) -> None:
    sleep = "import time; time.sleep(600)"
    container = room.engine.start(room.spec(sleep, network=Network.CALLBACK, peer=peer))
    room.api.remove_container(container.id, force=True)

    assert room.engine.sweep() == [container.name]
    assert not [each for each in room.left() if "io.validibot.name" in each["Labels"]]


def test_only_open_network_has_default_route(room: Room) -> None:
    sleep = "import time; time.sleep(600)"
    with (
        room.running(sleep, network=Network.OPEN) as free,
        room.running(sleep, network=Network.CALLBACK) as kept,
    ):
        networks = [network_of(room, each.id) for each in (free, kept)]

    assert [network["Internal"] for network in networks] == [False, True]


def test_extra_host_names_resolve(room: Room) -> None:
    source = "import socket; print(socket.gethostbyname('host.docker.internal'))"

    ran = room.run(source, network=Network.CALLBACK, hosts={"host.docker.internal": "10.1.2.3"})

    assert ran.log == "10.1.2.3"


def test_labels_are_found_by_address(room: Room) -> None:
    labels = {"io.validibot.account": "a"}
    sleep = "import time; time.sleep(600)"
    with room.running(sleep, network=Network.CALLBACK, labels=labels) as container:
        found = room.engine.labels_at(address_of(room, container.id))

    assert found is not None
    assert found["io.validibot.account"] == "a"
    assert room.engine.labels_at("10.9.9.9") is None


def log_lines(room: Room, id_: str) -> bytes:
    said: bytes = room.api.logs(id_)
    return said


def network_of(room: Room, id_: str) -> dict[str, Any]:
    [name] = room.api.inspect_container(id_)["NetworkSettings"]["Networks"]
    network: dict[str, Any] = room.api.inspect_network(name)
    return network


def address_of(room: Room, id_: str) -> str:
    networks = room.api.inspect_container(id_)["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])
