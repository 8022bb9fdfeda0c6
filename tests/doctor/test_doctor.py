"""Each fault that a machine may have is found and told with its remedy; a machine without one passes."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plastsearch import nvidia
from plastsearch.cli.main import app
from plastsearch.doctor import examination, machine, packages, places, services
from plastsearch.doctor.examination import Asked, examine
from plastsearch.lock import try_lock

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def releases(monkeypatch):
    """What is installed, but for what a test says."""
    said: dict[str, str | None] = {}
    real = packages.installed
    monkeypatch.setattr(packages, "installed", lambda name: said[name] if name in said else real(name))
    monkeypatch.setattr(services, "installed", packages.installed)
    return said


def told(found, *words):
    """A fault with a remedy, which says these words."""
    assert found.state == "fault", found
    assert found.remedy
    for word in words:
        assert word in f"{found.said} → {found.remedy}", found


def test_this_machine_is_well_and_known_fast_and_without_torch(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nbegan = time.monotonic()\n"
        "from plastsearch.doctor.examination import Asked, examine\n"
        f"found = examine(Asked(Path({str(tmp_path / 'runs')!r})))\n"
        "heavy = [m for m in ('torch', 'ray', 'mlflow', 'optuna', 'transformers') if m in sys.modules]\n"
        "faults = [one for one in found if one.state == 'fault' and one.name not in ('memory', 'disk')]\n"
        "assert not heavy and not faults, (heavy, faults)\nassert time.monotonic() - began < 5\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert not (tmp_path / "runs").exists()
    assert not [*tmp_path.iterdir()]  # nothing is left behind


def test_the_command_says_all_of_it_and_its_status_is_that_of_the_faults(tmp_path, releases, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(examination.machine, "memory", lambda: machine.ok("memory", "8 GB free"))
    monkeypatch.setattr(examination.places, "room", lambda above: machine.ok("disk", "50 GB free"))
    well = CliRunner().invoke(app, ["doctor", "--out", str(tmp_path), "--json"])
    document = json.loads(well.stdout)
    assert (well.exit_code, document["ok"]) == (0, True), document
    assert {"Python", "torch, torchaudio", "GPU, driver", "cores", "memory", "--out", "disk", "file locks",
            "hard links", "temporary folder", "Ray", "Ray's authentication", "MLflow", "ONNX", "packages"} == {
        one["name"] for one in document["findings"]}  # fmt: skip
    assert all(one["seconds"] < 5 for one in document["findings"])
    releases["torchaudio"] = None
    monkeypatch.setattr(examination.machine, "gpu", lambda: time.sleep(0.6) or machine.ok("GPU, driver", "slow"))
    ill = CliRunner().invoke(app, ["doctor", "--out", str(tmp_path)])
    assert ill.exit_code == 1
    assert "FAULT  torch, torchaudio" in ill.stdout
    assert "→ pip install 'torch" in ill.stdout
    assert "(took 0.6 s)" in ill.stdout
    assert ill.stdout.rstrip().endswith("1 fault")


def test_pythons_that_are_not_taken(monkeypatch):
    told(packages.python((3, 10, 4)), "3.10.4", "<3.15", "environment")
    told(packages.python((3, 15, 0)), "3.15.0")
    assert packages.python((3, 14, 2)).state == "ok"


def test_torch_and_torchaudio_are_one_pair(releases):
    releases |= {"torch": "2.11.0+cu130", "torchaudio": "2.11.0"}
    assert packages.pair().state == "ok"
    releases |= {"torch": None, "torchaudio": None}
    told(packages.pair(), "torch and torchaudio missing", "pip install 'torch<2.12,>=2.11'")
    releases |= {"torch": "2.11.0", "torchaudio": "2.10.0"}
    told(packages.pair(), "they are no pair", "same release of both")
    releases |= {"torch": "2.12.0", "torchaudio": "2.12.0"}
    told(packages.pair(), "plastsearch takes torch", "2.11")


def test_packages_that_are_missing_or_too_new(releases):
    assert packages.others().state == "ok"
    releases |= {"optuna": "6.0", "moocore": None}
    told(packages.others(), "optuna 6.0 (wanted: <5.1,>=5.0)", "moocore missing", "pip install")


def test_onnx_only_where_it_is_wanted(releases):
    assert packages.onnx(True).state == "ok"
    releases["onnxscript"] = "0.6.0"  # it writes GRUs wrongly
    told(packages.onnx(True), "onnxscript 0.6.0", "plastsearch[onnx]")
    assert packages.onnx(False).state == "note"
    releases |= dict.fromkeys(packages.ONNX)
    told(packages.onnx(True), "onnxscript missing")
    assert packages.onnx(False).state == "ok"


def cards(folder, *classes):
    for number, (vendor, kind) in enumerate(classes):
        device = folder / f"0000:0{number}:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text(vendor + "\n")
        (device / "class").write_text(kind + "\n")
    return folder


@pytest.mark.parametrize(
    ("driver", "built", "words"),
    [
        (None, "13.0", ("1 NVIDIA card, but no driver", "--gpus all")),
        (nvidia.Driver(13, 0, 1), None, ("built without CUDA", "torch of the package index")),
        (nvidia.Driver(12, 4, 1), "13.0", ("driver for CUDA 12.4", "580 or newer", "update the driver")),
    ],
)
def test_gpus_that_cannot_be_used(tmp_path, monkeypatch, driver, built, words):
    bus = cards(tmp_path, ("0x10de", "0x030200"), ("0x8086", "0x030000"), ("0x10de", "0x040300"))
    monkeypatch.setattr(nvidia, "driver", lambda count: driver)
    monkeypatch.setattr(machine, "torch_cuda", lambda: built)
    told(machine.gpu(bus), *words)


def test_gpus_that_are_there_hidden_or_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(nvidia, "driver", lambda count: None)
    assert machine.gpu(tmp_path).state == "ok"
    monkeypatch.setattr(machine, "torch_cuda", lambda: "13.0")
    monkeypatch.setattr(nvidia, "driver", lambda count: nvidia.Driver(13, 1, 2))
    assert machine.gpu(tmp_path).said.startswith("2 GPUs, driver for CUDA 13.1")
    monkeypatch.setattr(nvidia, "driver", lambda count: nvidia.Driver(13, 1, 0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.gpu(tmp_path).state == "note"


def group(folder, **files):
    """A container's control group: where it is mounted, and what limits it."""
    (folder / "cgroup").mkdir(parents=True)
    for name, text in files.items():
        (folder / "cgroup" / name.replace("_", ".")).write_text(text)
    for proc in (folder / "proc", folder / "proc" / "self"):
        proc.mkdir(exist_ok=True)
    (folder / "proc/self/cgroup").write_text("0::/\n")
    mounted = f"30 23 0:26 / {folder / 'cgroup'} rw - cgroup2 cgroup rw\n"
    (folder / "proc/self/mountinfo").write_text(mounted)
    return folder


def test_a_quota_below_the_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = machine.cores(group(tmp_path / "half", cpu_max="50000 100000") / "proc/self")
    told(found, "64 seen, but this container may use 0.5 of one", "--cpus")
    found = machine.cores(group(tmp_path / "four", cpu_max="400000 100000") / "proc/self")
    assert (found.state, "4 of 64 usable: a quota of 4" in found.said) == ("note", True)
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    assert "OMP_NUM_THREADS is 16" in machine.cores(tmp_path / "four/proc/self").said
    assert machine.cores(group(tmp_path / "free", cpu_max="max 100000") / "proc/self").state == "ok"


def test_memory_of_the_machine_and_of_the_container(tmp_path):
    place = group(tmp_path, memory_max="2000000000", memory_current="1500000000")
    (place / "proc/meminfo").write_text("MemTotal: 99 kB\nMemAvailable:   30000000 kB\n")
    told(
        machine.memory(place / "proc", place / "cgroup"), "500 MB left of this container's limit", "give the container"
    )
    (place / "cgroup/memory.max").write_text("max")
    assert machine.memory(place / "proc", place / "cgroup").state == "ok"
    (place / "proc/meminfo").write_text("MemAvailable:   200000 kB\n")
    told(machine.memory(place / "proc", place / "cgroup"), "205 MB free", "end other programs")


def test_a_disk_that_is_nearly_full(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda where: Usage(10**12, 10**12 - 10**6, 10**6))
    told(places.room(tmp_path), "1 MB free", "store gc", "--out")
    told(places.temporary(), "1 MB free", "TMPDIR")
    monkeypatch.setattr(shutil, "disk_usage", lambda where: Usage(10**12, 0, 5 * 10**9))
    assert places.room(tmp_path).state == "note"


ASK = (
    "import sys\nfrom pathlib import Path\nfrom plastsearch.doctor.places import folder\n"
    "for one in folder(Path(sys.argv[1]) / 'runs'):\n    print(f'{one.name}: {one.state}: {one.said} {one.remedy}')\n"
)


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode,
    reason="needs the right to mount, as root has it",
)
@pytest.mark.parametrize(
    ("options", "script", "words"),
    [
        ("size=64k", 'dd if=/dev/zero of="$2"/all bs=4k 2>/dev/null', ("No space left on device", "make room")),
        ("ro", "true", ("cannot be written: Read-only file system", "another folder with --out")),
    ],
)
def test_a_full_disk_and_one_that_can_only_be_read(tmp_path, options, script, words):
    script = f'mount -t tmpfs -o {options} small "$2"; {script}; exec "$1" -c "$3" "$2"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, str(tmp_path), ASK],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("--out: fault: ")
    assert all(word in done.stdout for word in words), done.stdout


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    told(places.folder(tmp_path / "file" / "runs")[0], "is a file", "--out")
    told(places.folder(Path("/proc/nowhere"))[0], "/proc cannot be written", "--out")


def test_file_systems_without_locks_or_links(tmp_path):
    probe = tmp_path / "probe"
    probe.write_text("x")
    assert places.locks(probe).state == places.links(probe).state == "ok"

    def none(*_):
        raise OSError(38, "Function not implemented")

    told(places.locks(probe, none), "none can be had", "NFS")
    told(places.locks(probe, lambda file: True), "two at once", "mount it with locks")
    told(places.links(probe, none), "none: Function not implemented", "several")
    told(places.links(probe, lambda one, other: shutil.copyfile(one, other)), "a link is a copy")
    assert not [path for path in tmp_path.iterdir() if path != probe]
    with probe.open("a+") as file:  # a lock that somebody holds is told apart from one that is not kept
        assert try_lock(file.fileno())
        told(places.locks(probe), "a new file counts as locked")


def test_a_temporary_folder_that_is_gone_and_little_shared_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    told(places.temporary(), "No such file", "TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", None)
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda where: Usage(1, 1, 64e6) if where == tmp_path else real(where))
    assert "--shm-size" in places.temporary(tmp_path).remedy


class Answers(BaseHTTPRequestHandler):
    """Plays an MLflow, one behind a login, and something else."""

    def do_GET(self):
        login = self.headers.get("Authorization")
        code = 401 if self.path.startswith("/closed") and login != "Basic YW5uOnBhc3M=" else 200
        kind = "text/html" if self.path.startswith("/other") else "application/json"
        self.send_response(500 if self.path.startswith("/ill") else code)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Answers) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_mlflow_servers(server, monkeypatch):
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert services.mlflow(f"http://{server}").state == "ok"
    told(services.mlflow(f"http://{server}/closed"), "asks for a login (401)", "MLFLOW_TRACKING_USERNAME")
    told(services.mlflow(f"http://{server}/other"), "not as MLflow does (text/html)")
    told(services.mlflow(f"http://{server}/ill"), "answers with 500", "its log")
    told(services.mlflow(f"http://127.0.0.1:{free_port()}"), "does not answer: Connection refused", "start it")
    assert services.mlflow(f"http://ann:pass@{server}/closed").state == "ok"
    wrong = services.mlflow(f"http://ann:secret@{server}/closed")
    told(wrong, "asks for a login")
    assert "secret" not in wrong.said
    told(services.mlflow("env:NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE is not set")


def test_mlflow_stores_on_disk_and_in_databases(tmp_path, releases):
    database = tmp_path / "mlflow.db"
    assert "will be made" in services.mlflow(f"sqlite:///{database}").said
    sqlite3.connect(database).close()
    assert services.mlflow(f"sqlite:///{database}").state == "ok"
    database.write_text("this is no database, and never was")
    told(services.mlflow(f"sqlite:///{database}"), "not a database", "restore it")
    told(services.mlflow("sqlite:////proc/mlflow/mlflow.db"), "cannot be made")
    assert services.mlflow(f"file:{tmp_path}").state == "ok"
    port = free_port()
    told(services.mlflow(f"postgresql://ann:secret@127.0.0.1:{port}/runs"), "does not answer")
    assert "secret" not in services.mlflow(f"postgresql://ann:secret@127.0.0.1:{port}/runs").said
    releases |= {"psycopg": None, "psycopg2": None}
    told(services.mlflow("postgresql://127.0.0.1/runs"), "needs psycopg", "plastsearch[server]")
    assert services.mlflow("databricks://profile").state == "note"
    assert services.mlflow(None).state == services.mlflow("none").state == "ok"


def test_ray_and_who_may_use_a_cluster(tmp_path, releases, monkeypatch, server):
    releases["ray"] = "2.61.0"
    told(services.ray(None)[0], "2.61.0", "pip install 'ray[tune]")
    releases["ray"] = None
    told(services.ray(None)[0], "missing", "--executor inline")
    told(services.authentication(f"ray://127.0.0.1:{free_port()}"), "does not answer", "start the cluster")
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert "may run code there" in services.authentication(server).said
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    told(services.authentication(server), "there is none", "RAY_AUTH_TOKEN")
    (tmp_path / "none").write_text("0123")
    assert services.authentication(server).state == "ok"


def test_a_part_that_breaks_is_a_finding_itself(tmp_path, monkeypatch):
    def broken():
        raise ModuleNotFoundError("No module named 'packaging'", name="packaging")

    monkeypatch.setattr(examination.packages, "others", broken)
    found = {one.name: one for one in examine(Asked(tmp_path))}
    told(found["packages"], "No module named 'packaging'", "pip install packaging")
