"""Machines of a cluster, as far as one machine can pretend them: each a host name, a network and processes of its own.

To be used within NAMESPACES (network, processes, mounts), so that whatever a scenario breaks ends with it. What the
machines share is the disk, as they would share a file server's.
"""

import fcntl
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NAMESPACES = ["unshare", "--net", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child"]
PORT = 6379
NETWORK = "10.99.0"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Machine:
    """One host: `run` starts a process on it; its link can be cut, and its power."""

    name: str
    address: str
    init: subprocess.Popen[bytes]
    environment: dict[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The process that ends with the machine, and all others with it."""
        (child,) = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text().split()
        return int(child)

    def run(
        self, words: Sequence[str], more: Mapping[str, str] | None = None, **pipes: object
    ) -> subprocess.Popen[str]:
        """Start a process there."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--uts", "--pid", "--mount", "--"]
        process: subprocess.Popen[str] = subprocess.Popen(
            [*enter, *words], env={**self.environment, **(more or {})}, text=True, **pipes
        )  # type: ignore[call-overload]
        self.processes.append(process)
        return process

    def pids(self, *named: str) -> list[int]:
        """Its processes whose command line holds one of these words, or all but the first, numbered as we see them."""
        own = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = []
        for path in Path("/proc").iterdir():
            try:
                inside = path.name.isdigit() and (path / "ns/pid").readlink() == own
                words = (path / "cmdline").read_text() if inside else ""
            except OSError:
                continue
            if inside and int(path.name) != self.pid and (not named or any(word in words for word in named)):
                found.append(int(path.name))
        return found

    def signal(self, number: signal.Signals, *named: str) -> None:
        """Signal those processes."""
        found = self.pids(*named)
        assert found, f"{self.name}: nothing to signal"
        for pid in found:
            os.kill(pid, number)

    def power_off(self) -> None:
        """Every process gone at once, and the link with them, so that nobody says goodbye."""
        self.cut()
        self.init.kill()  # by --kill-child
        self.init.wait()

    def cut(self) -> None:
        """No packet comes or goes."""
        _ip("link", "set", self.name, "down")

    def mend(self) -> None:
        """Packets again."""
        _ip("link", "set", self.name, "up")


class Cluster:
    """Machines on a bridge, and the Ray that is started on them with a token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machines: dict[str, Machine] = {}
        loopback_up()
        _ip("link", "add", "br0", "type", "bridge")
        _ip("addr", "add", f"{NETWORK}.254/24", "dev", "br0")
        _ip("link", "set", "br0", "up")
        self._token = secrets.token_hex(32)

    def machine(self, name: str, **environment: str) -> Machine:
        """A new host, with a link to the others."""
        scratch = self.folder / "ray"  # Ray uses the same path on every machine, and each must find its own there
        scratch.mkdir(exist_ok=True)
        boot = f"mount -t tmpfs none {scratch} && mount -t tmpfs none /dev/shm && hostname {name} && echo up"
        words = ["unshare", "--net", "--uts", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child", "sh", "-c",
                 f"{boot} && exec sleep 100000"]  # fmt: skip
        init = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert init.stdout is not None
        assert init.stdout.readline() == b"up\n"
        address = f"{NETWORK}.{len(self.machines) + 1}"
        home = self.folder / name
        home.mkdir()
        surroundings = {
            **os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token, "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_enable_metrics_collection": "0", "HOME": str(home), "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment,
        }  # fmt: skip
        machine = Machine(name, address, init, surroundings)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid))
        _ip("link", "set", name, "master", "br0", "up")
        for one in (["addr", "add", f"{address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                    ["link", "set", "lo", "up"], ["route", "add", "default", "via", f"{NETWORK}.254"]):  # fmt: skip
            subprocess.run(["nsenter", f"--target={machine.pid}", "--net", "ip", *one], check=True)
        self.machines[name] = machine
        return machine

    def head(self, machine: Machine, *more: str) -> subprocess.Popen[str]:
        """Ray's head, as KubeRay starts one: no cores, and the process stays in front."""
        process = self._ray(machine, "--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false", *more)
        wait_until(lambda: listens(machine.address), 90, f"the head at {machine.address}")
        return process

    def worker(self, machine: Machine, head: Machine, cpus: int = 1) -> subprocess.Popen[str]:
        """A worker; it may take a while to join."""
        return self._ray(machine, f"--address={head.address}:{PORT}", f"--num-cpus={cpus}")

    def joins(self, machine: Machine) -> int:
        """How often it has joined."""
        return (self.folder / f"{machine.name}.log").read_text().count("Ray runtime started")

    def joined(self, machine: Machine) -> None:
        """Wait for it."""
        wait_until(lambda: self.joins(machine), 120, f"{machine.name} joins")

    def _ray(self, machine: Machine, *more: str) -> subprocess.Popen[str]:
        log = (self.folder / f"{machine.name}.log").open("a")
        words = [
            "ray",
            "start",
            "--block",
            f"--node-ip-address={machine.address}",
            "--object-store-memory=80000000",
            *more,
        ]
        if "--head" in more:
            words.append(f"--temp-dir={self.folder / 'ray'}")
        return machine.run(words, stdout=log, stderr=log)


def loopback_up() -> None:
    """A network namespace begins with nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def wait_until(true: object, seconds: float, what: str) -> None:
    """Poll, and fail by name."""
    assert callable(true)
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(0.1)


def listens(address: str) -> bool:
    """Whether a head answers there."""
    try:
        socket.create_connection((address, PORT), timeout=1).close()
    except OSError:
        return False
    return True
