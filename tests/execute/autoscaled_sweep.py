"""A sweep on a cluster of no workers at first, whose nodes Ray's own autoscaler brings. Arguments: folder, scenario.

To be run in namespaces of its own (network, processes, mounts), where Ray's ports are free and everything ends with it.
Ray's provider of pretended nodes starts real raylets, but reads a file that its wheel leaves out: it is put over the
installed package in this mount namespace only.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

HEAD = "f" * 51 + "00000"
HEAD_KIND = "ray.head.default"  # the provider knows it by this name
PORT = 6379  # where pretended nodes look for their head
EMPTY = (
    "auth", "file_mounts", "cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands",
    "setup_commands", "head_setup_commands", "worker_setup_commands", "head_start_ray_commands",
    "worker_start_ray_commands",
)  # fmt: skip


def config(most: int) -> dict[str, object]:
    """A head without cores, and at most so many workers with one each."""
    provider = {
        "type": "fake_multinode", "use_node_id_as_ip": True, "disable_node_updaters": True,
        "disable_launch_config_check": True, "launch_multiple": True, "head_node_id": HEAD,
    }  # fmt: skip
    kinds = {
        HEAD_KIND: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": most},
    }
    empty = {name: {} if name in {"auth", "file_mounts"} else [] for name in EMPTY}
    return {
        **empty, "cluster_name": "pretended", "max_workers": most, "upscaling_speed": 1.0, "idle_timeout_minutes": 5,
        "file_mounts_sync_continuously": False, "provider": provider, "available_node_types": kinds,
        "head_node_type": HEAD_KIND,
    }  # fmt: skip


def loopback_up() -> None:
    """A network namespace begins with nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def start_cluster(folder: Path, most: int) -> dict[str, str]:
    """The head, and the environment in which all of it runs."""
    loopback_up()
    (package,) = find_spec("ray").submodule_search_locations or ()
    installed = Path(package) / "autoscaler/_private/fake_multi_node"
    copy = folder / "provider"
    shutil.copytree(installed, copy)
    for path in (copy / "example.yaml", folder / "cluster.json"):
        path.write_text(json.dumps(config(most)))
    subprocess.run(["mount", "--bind", str(copy), str(installed)], check=True)
    environment = {
        **os.environ, "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD, "RAY_USAGE_STATS_ENABLED": "0",
        "FAKE_TRIAL_S": "1", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # fmt: skip
    subprocess.run(
        ["ray", "start", "--head", "--num-cpus=0", f"--port={PORT}", f"--autoscaling-config={folder / 'cluster.json'}",
         "--include-dashboard=false", f"--temp-dir={folder / 'ray'}", "--object-store-memory=80000000"],
        env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    return environment


def driver(folder: Path, environment: dict[str, str], *more: str) -> subprocess.Popen[str]:
    """A session of the sweep on that cluster."""
    words = [sys.executable, "-m", "tests.sweep.session_process", str(folder / "runs"), *more]
    environment = {**environment, "PLASTSEARCH_TEST_ADDRESS": f"127.0.0.1:{PORT}"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def real_sweep(folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """The command itself with real trials, and a folder for clips that all nodes share."""
    space = Path(__file__).parents[2] / "search_spaces" / "smoke.yaml"
    words = ["sweep", str(space), "--out", str(folder / "runs"), "--address", f"127.0.0.1:{PORT}", "--mlflow", "none"]
    words += ["--clips", str(folder / "clips"), "--trials", "1", "--no-finalists", "--json-lines"]
    command = [sys.executable, "-m", "plastsearch", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def main() -> None:
    """Prints what became of it as one JSON object."""
    folder, scenario = Path(sys.argv[1]), sys.argv[2]
    environment = start_cluster(folder, most=2)
    groups = [{"name": "worker", "resources": {"CPU": 1}, "max": 2}]
    environment["PLASTSEARCH_WORKER_GROUPS"] = json.dumps(groups)
    began = time.monotonic()
    if scenario == "infeasible":  # nobody has declared what there may be: the autoscaler says it
        del environment["PLASTSEARCH_WORKER_GROUPS"]
        session = driver(folder, environment, "", "tune", "resources.cpu=4", "resources.gpu=0")
    elif scenario == "undeclared":
        del environment["PLASTSEARCH_WORKER_GROUPS"]
        session = driver(folder, environment, "", "tune")
    elif scenario == "restart":  # as when the head of a cluster is lost: the driver is back before any worker
        first = driver(folder, environment, "", "tune")
        for line in first.stdout or ():
            if json.loads(line)["event"] == "propose":
                break
        first.send_signal(signal.SIGKILL)
        first.wait()
        session = driver(folder, environment, "resume", "tune")
    elif scenario == "real":
        session = real_sweep(folder, environment)
    else:
        session = driver(folder, environment, "", "tune")
    out, err = session.communicate(timeout=240)
    said = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    events = [one for one in said if "event" in one]  # the last one is the outcome
    notes = [event["text"] for event in events if event["event"] == "note"]
    started = [event["at"] for event in events if event["event"] == "start"]
    ends = [event["trial"] for event in events if event["event"] == "end"]
    kinds = [event["event"] for event in events]
    at_once = kinds[: kinds.index("end")].count("propose") if "end" in kinds else 0
    print(json.dumps({
        "exit": session.returncode, "seconds": time.monotonic() - began, "notes": notes, "ends": ends,
        "starts": len(started), "at_once": at_once, "error": err[-2000:],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
