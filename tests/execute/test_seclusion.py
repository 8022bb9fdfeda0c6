"""A sweep on this machine is reachable from nowhere: its sockets are on loopback, and ask for the session's token."""

import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from plastsearch.private_folder import private_folder
from tests.doors import Door, abstract_names, call, command_lines, doors, tree
from tests.sweep.test_session import start, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::Warning")]  # Ray's own, in its threads

# A method of every service that Ray's processes offer to others.
METHODS = {
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo": "the server of the cluster",
    "/ray.rpc.NodeManagerService/GetNodeStats": "the node",
    "/ray.rpc.ObjectManagerService/Pull": "its objects",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats": "driver and workers",
}
REFUSED, DONE, UNKNOWN = b"grpc-status\x0216", b"grpc-status\x010", b"grpc-status\x0212"


@dataclass
class Sweep:
    """One that runs while the tests look at it."""

    pid: int
    folder: Path

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text()

    @property
    def doors(self) -> list[Door]:
        return doors(tree(self.pid))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """In a process of its own, with trials that last."""
    process = start(
        tmp_path_factory.mktemp("secluded"),
        *("tune", "search.trials=4", "search.parallel=2", "resources.cpu=1"),
        seconds=400.0,
    )
    try:
        wait_for(process, "start", 1)
        yield Sweep(process.pid, private_folder() / str(process.pid))
    finally:
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        process.communicate(timeout=90)


def test_no_socket_of_the_process_tree_is_open_to_other_machines(sweep: Sweep) -> None:
    found = sweep.doors
    kinds = {line.split()[0].rpartition("/")[2] for line in command_lines({door.pid for door in found}).values()}
    assert {"gcs_server", "raylet"} <= kinds  # the check sees what it is about
    assert len(found) >= 6
    assert [door for door in found if not door.inside] == []
    assert abstract_names(tree(sweep.pid)) == set()


def test_every_server_refuses_who_has_no_token(sweep: Sweep) -> None:
    served: dict[str, int] = dict.fromkeys(METHODS, 0)
    for door in sweep.doors:
        for method in METHODS:
            answer = call(door.port, method, sweep.token)
            if not answer or UNKNOWN in answer:
                continue  # another server's method
            assert DONE in answer
            served[method] += 1
            for wrong in (None, "0" * 64):
                assert REFUSED in call(door.port, method, wrong), (method, METHODS[method])
    assert all(served.values()), served
    assert served["/ray.rpc.CoreWorkerService/GetCoreWorkerStats"] >= 3  # the driver and two workers


def test_the_server_of_runtime_environments_refuses_who_has_no_token(sweep: Sweep) -> None:
    lines = command_lines({door.pid for door in sweep.doors})
    (port,) = [door.port for door in sweep.doors if "RuntimeEnvAgent" in lines[door.pid]]
    page = f"http://127.0.0.1:{port}/get_runtime_envs_info"
    for headers, status in (({}, 401), ({"Authorization": "Bearer 0"}, 403)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(page, data=b"", headers=headers), timeout=20)
        assert refused.value.code == status
        refused.value.close()
    right = {"Authorization": f"Bearer {sweep.token}"}
    with urllib.request.urlopen(urllib.request.Request(page, data=b"", headers=right), timeout=20) as answer:
        assert answer.status == 200


CLIENT = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=100)
@ray.remote(num_cpus=0)
def task():
    return "a task ran"
print(ray.get(task.remote()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("invited", [True, False])
def test_a_client_without_the_token_gets_no_task_run(sweep: Sweep, invited: bool, tmp_path: Path) -> None:
    lines = command_lines(tree(sweep.pid))
    (gcs,) = [door for door in sweep.doors if "gcs_server" in lines[door.pid]]
    environment = {**os.environ, "HOME": str(tmp_path), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    environment |= {"RAY_AUTH_MODE": "token" if invited else "disabled"}
    environment |= {"RAY_AUTH_TOKEN_PATH": str(sweep.folder / "token")} if invited else {}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, f"127.0.0.1:{gcs.port}"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout == "a task ran\n") is invited, done.stderr
    assert (done.returncode == 0) is invited
    assert invited or "InvalidAuthToken" in done.stderr or "Failed to connect to Ray cluster" in done.stderr


def test_the_token_is_a_file_that_nobody_else_can_reach(sweep: Sweep) -> None:
    assert len(sweep.token) == 64
    assert stat.S_IMODE((sweep.folder / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(sweep.folder.parent.stat().st_mode) == 0o700
    assert [line for line in command_lines(tree(sweep.pid)).values() if sweep.token in line] == []


@pytest.mark.slow
def test_the_surroundings_are_as_before_once_it_is_closed(sweep: Sweep) -> None:
    """A token of another cluster, and the mode asked for it, are the user's again; every session has its own token."""
    code = """
import os
from pathlib import Path
os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "theirs"}
from plastsearch.execute.ray_cluster import Cluster
import ray
def now():
    names = [name for name in os.environ if name.startswith(("RAY_AUTH", "RAY_ENABLE"))]
    mode, constants = ray._raylet.get_authentication_mode(), ray._private.ray_constants
    return {name: os.environ[name] for name in names}, mode, constants.ENABLE_RAY_CLUSTER
before = now()
cluster = Cluster()
inside = now()
path = Path(inside[0]["RAY_AUTH_TOKEN_PATH"])
print(path.read_text(), "RAY_AUTH_TOKEN" in inside[0], inside[1] == ray._raylet.AuthenticationMode.TOKEN, inside[2])
cluster.close()
print(now() == before, path.parent.exists())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    token, *found = done.stdout.split()
    assert found == ["False", "True", "False", "True", "False"], done.stderr
    assert len(token) == 64
    assert token != sweep.token
