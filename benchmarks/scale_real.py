"""The real thing beside benchmarks/scale.py: worker processes on a Ray of as many logical cores; their trials sleep."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.driver_arms import SPACE as ONE_SPACE
from benchmarks.driver_arms import metrics

SPACE = f"{ONE_SPACE}resources: {{cpu: 1, gpu: 0}}\n"
SECONDS = "PLASTSEARCH_SCALE_S"
REPORTS = 8


def trial(config: Any, settings: Any) -> Iterator[Any]:  # noqa: ARG001 - the signature of every trial
    """Eight reports and a result, and nothing but sleep between them."""
    from plastsearch.spec.running import Report

    values = metrics(len(config.layers), max(config.growth().values()), config.trial_id())
    for at in range(1, REPORTS + 1):
        time.sleep(float(os.environ[SECONDS]) / REPORTS)
        yield Report("retrain", at, REPORTS, {"dev_eer": values["dev_eer"]})
    yield Report("result", REPORTS, REPORTS, values, final=True)


def real(slots: int, trials: int, seconds: float) -> dict[str, Any]:
    """One sweep; utilisation from the first moment that all slots were at work to the last hand-out."""
    with tempfile.TemporaryDirectory(prefix="psb", dir="/tmp") as temp, _cluster(Path(temp), slots, seconds) as port:
        from plastsearch.spec.load import load_sweep
        from plastsearch.sweep.options import Options
        from plastsearch.sweep.session import run_sweep
        from plastsearch.tracking.journal import read
        from plastsearch.tracking.records import trials as records_of

        folder = Path(temp)
        (folder / "space.yaml").write_text(SPACE)
        spec = load_sweep(folder / "space.yaml", [f"search.trials={trials}", f"search.parallel={slots}"])
        most = _Watch()
        options = Options(
            root=folder, name="sweep", trial="benchmarks.scale_real:trial", finalists=False, address=f"127.0.0.1:{port}"
        )
        outcome = run_sweep(spec, options, lambda _folder, _view: [most])
        events = read(outcome.folder)
        found = list(records_of(events).values())
    begins = sorted(record.started_at or 0.0 for record in found)
    ends = sorted(record.ended_at or 0.0 for record in found)
    full, last = begins[slots - 1], begins[-1]
    worked = sum(
        max(0.0, min(record.ended_at or 0.0, last) - max(record.started_at or 0.0, full)) * (seconds / record.seconds)
        for record in found
        if record.seconds
    )
    return {
        "slots": slots,
        "trials": trials,
        "status": outcome.status,
        "done": sum(record.state == "done" for record in found),
        "retries": sum(record.attempts - 1 for record in found),
        "start_s": full - begins[0],
        "utilisation": worked / (slots * (last - full)) if last > full else 0.0,
        "wall_s": ends[-1] - begins[0],
        "trial_s": seconds,
        "longest_s": max(record.seconds for record in found),
        "events": len(events),
        "driver_mb": most.driver_mb,
        "all_mb": most.all_mb,
        "load": os.getloadavg()[0],
    }


class _Watch:
    """Looks at memory while a sweep runs: the driver's, and the shares of all of Ray's processes."""

    def __init__(self) -> None:
        self.driver_mb = self.all_mb = self._looked_s = 0.0

    def feed(self, event: Any) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Every ten seconds, for it takes a while to add up."""
        if time.monotonic() - self._looked_s < 10:
            return
        self._looked_s = time.monotonic()
        sizes = {
            path.parent.name: _mb(path) for path in Path("/proc").glob("[0-9]*/smaps_rollup") if _ours(path.parent)
        }
        self.driver_mb = max(self.driver_mb, sizes.get(str(os.getpid()), 0.0))
        self.all_mb = max(self.all_mb, sum(sizes.values()))

    def close(self) -> None:
        """Nothing."""


def _ours(process: Path) -> bool:
    """This process, or one that was started with our variable: the head and all below it."""
    try:
        return process.name == str(os.getpid()) or f"{SECONDS}=".encode() in (process / "environ").read_bytes()
    except OSError:
        return False


def _mb(rollup: Path) -> float:
    """Its share of memory: what several have in common is divided among them."""
    try:
        return next(int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0.0


@contextmanager
def _cluster(folder: Path, slots: int, seconds: float) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    root = Path(__file__).resolve().parent.parent
    environment = {**os.environ, SECONDS: str(seconds), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_enable_metrics_collection": "0"}
    os.environ["RAY_AUTH_MODE"] = "disabled"
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--num-cpus={slots}", "--num-gpus=0",
        f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--temp-dir={folder / 'ray'}",
        "--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0",
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    head = subprocess.Popen(command, env=environment, start_new_session=True, stdout=quiet, stderr=quiet)
    try:
        until = time.monotonic() + 90
        with socket.socket() as asked:
            while asked.connect_ex(("127.0.0.1", port)):
                if time.monotonic() > until or head.poll() is not None:
                    raise RuntimeError("Ray did not start")
                time.sleep(0.2)
        yield port
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(60)
