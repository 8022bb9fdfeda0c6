"""A sweep's numbers stand at the metrics port of the cluster it runs on, as its journal has them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from plastsearch.tracking.journal import read
from plastsearch.tracking.records import trials

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::Warning"),
    pytest.mark.timeout(300),
]
TELL_S = 1.0  # Ray's own interval, ten seconds by default


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, dict[str, str]]]:
    """A real head with four cores: its port, its metrics port, its environment."""
    port, metrics, agent, client = free_ports(4)
    folder = Path("/tmp") / f"psm{os.getpid()}"  # a socket's path is short
    environment = {
        **os.environ, "RAY_metrics_report_interval_ms": str(int(1000 * TELL_S)), "FAKE_TRIAL_S": "2",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # fmt: skip
    ray = Path(sys.executable).with_name("ray")
    command = [
        str(ray), "start", "--head", "--block", "--num-cpus=4", f"--port={port}", f"--metrics-export-port={metrics}",
        f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}", "--node-ip-address=127.0.0.1",
        "--min-worker-port=0", "--max-worker-port=0", "--include-dashboard=false", f"--temp-dir={folder}",
        "--object-store-memory=80000000",
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    head = subprocess.Popen(command, env=environment, start_new_session=True, stdout=quiet, stderr=quiet)
    try:
        yield port, metrics, environment
    finally:
        head.send_signal(signal.SIGTERM)  # with --block it ends what it started
        head.wait(60)
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def scrape(port: int) -> dict[tuple[str, ...], float]:
    """Ours of the numbers that stand there now: name and the tags beside `sweep` → value."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}  # not up yet
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("sweep") == "fake":
                more = [sample.labels[name] for name in ("status", "metric") if sample.labels.get(name)]
                found[sample.name, *more] = sample.value
    return found


def test_what_prometheus_reads_is_what_the_journal_says(cluster, tmp_path):
    port, metrics, environment = cluster
    wait_until(lambda: _listens(port) and _listens(metrics), 60)
    command = [sys.executable, "-m", "tests.sweep.session_process", str(tmp_path), "", "tune"]
    command += ["resources.cpu=1", "search.trials=60", "controls=[baseline]", "finalists.top=0"]
    address = {"PLASTSEARCH_TEST_ADDRESS": f"127.0.0.1:{port}"}
    said = tmp_path / "said"
    with said.open("w") as out:
        session = subprocess.Popen(command, env={**environment, **address}, stdout=out)
    seen: list[dict[tuple[str, ...], float]] = []

    def looked() -> bool:
        seen.append(scrape(metrics))
        return session.poll() is not None

    wait_until(looked, 150)
    assert session.returncode == 0, said.read_text()
    assert json.loads(said.read_text().splitlines()[-1])["outcome"] == "done"
    records = trials(read(tmp_path / "fake"))
    ended = [one for one in seen if ("ray_plastsearch_trials_ended_total", "done") in one]
    counts = [one["ray_plastsearch_trials_ended_total", "done"] for one in ended]
    assert counts == sorted(counts)
    assert 0 < counts[0] < len(records)  # while it ran
    assert max(one.get(("ray_plastsearch_trials_running",), 0) for one in seen) == 4
    # What is told when it ends stands there a moment later: Ray sends what it has when the driver leaves.
    last = ended[-1] | {key: value for key, value in scrape(metrics).items() if key[0].endswith("_total")}
    assert last["ray_plastsearch_trials_ended_total", "done"] == len(records) == 61
    assert last["ray_plastsearch_slots",] == 4
    assert last["ray_plastsearch_tracker_lag_events",] == 0
    assert last["ray_plastsearch_store_bytes",] == 0
    at = last["ray_plastsearch_last_trial_ended_seconds",]
    before = [record for record in records.values() if record.ended_at <= at + 1e-3]
    assert abs(max(record.ended_at for record in before) - at) < 1e-3
    best = min(record.metrics["dev_eer"] for record in before)
    assert last["ray_plastsearch_best", "dev_eer"] == pytest.approx(best, rel=1e-6)
    assert 0 < last["ray_plastsearch_gain",] < 1


def wait_until(true, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.3)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
