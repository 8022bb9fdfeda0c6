"""Sweeps on a real Ray: one small cluster for the whole session, fake trials in its workers."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

from plastsearch.errors import ClusterError
from plastsearch.execute.resources import NodeKind, Request
from plastsearch.sweep.budget import Limits
from plastsearch.sweep.halting import Halting
from plastsearch.tracking.journal import read
from plastsearch.tracking.records import trials
from tests.doors import command_lines, tree
from tests.sweep.conftest import OBJECTIVES
from tests.sweep.fake_trials import Dice
from tests.sweep.session_process import SPACE
from tests.sweep.test_session import start, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::Warning")]  # Ray's own, in its threads


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A local Ray of two cores; its workers find the fake trials."""
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from plastsearch.execute.ray_tune import RayExecutor

        folder = tmp_path_factory.mktemp("ray")
        executor = RayExecutor(folder, Request(cpu=1), parallel=2)
        yield executor
        executor.close()


def run(rig, cluster, **more):
    it = rig(options={"slots": 2, **more.pop("options", {})}, **more)
    sweep = it.open()
    try:
        cluster.run(sweep)
    finally:
        it.journal.close()
    assert sweep.over
    return it.records()


def test_trials_begin_in_the_workers_that_ray_has_ready_and_nothing_runs_for_nobody(rig, cluster):
    until = time.monotonic() + 60
    while len(ready := workers_idle()) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    records = run(rig, cluster, limits=Limits(trials=4))
    assert {int(record.node.rpartition(":")[2]) for record in records.values()} <= ready
    running = " ".join(command_lines(tree(os.getpid())).values())
    assert "gcs_server" in running
    assert [name for name in ("dashboard.py", "log_monitor.py", "_private/monitor.py") if name in running] == []


def workers_idle():
    return {pid for pid, line in command_lines(tree(os.getpid())).items() if line.startswith("ray::IDLE")}


def test_trials_run_in_warm_workers_and_are_deferred_or_halted(rig, cluster):
    """One sweep for all three: workers take seconds to start."""
    halting = Halting("asha", OBJECTIVES, least=2)
    rng, limits = Dice(orders={2: "busy", 3: "busy"}), Limits(trials=14)
    records = run(rig, cluster, rng=rng, limits=limits, options={"halting": halting})
    states = [r.state for r in records.values()]
    assert states.count("halted") >= 3
    assert set(states) == {"halted", "done"}
    assert all(len(r.history) == 4 for r in records.values() if r.state == "done" and not r.reasons)
    workers = {r.node for r in records.values()}
    assert len(workers) <= 3
    assert not any(node.endswith(f":{os.getpid()}") for node in workers)
    assert records[2].reasons == ["stage abc is being computed by another process"] * len(records[2].reasons)
    assert len(records[2].reasons) >= 1
    assert records[2].failures == 0
    assert records[2].metrics["waited_seconds"] > 0


@pytest.mark.slow
def test_a_session_that_finds_nothing_left_to_run_ends_in_order(rig, cluster):
    """As after an interrupt that came while the last trials ended."""
    first = run(rig, cluster, limits=Limits(trials=2))
    again = run(rig, cluster, limits=Limits(trials=2))
    assert {n: (r.state, r.attempts) for n, r in again.items()} == {n: (r.state, r.attempts) for n, r in first.items()}


def test_faults_stay_alone_and_keep_their_reasons(rig, cluster, tmp_path):
    orders = {
        1: "error",
        2: f"die-once:{tmp_path / 'died'}",
        3: "bug",
        4: f"hang-once:{tmp_path / 'hung'}",
        5: "die",
        6: f"memory-once:{tmp_path / 'full'}",
    }
    limits = Limits(trials=8, max_failures=1, trial_timeout_s=8.0)
    records = run(rig, cluster, rng=Dice(orders=orders), limits=limits)
    assert [records[n].state for n in range(9)] == ["done", "failed", "done", "failed", "done", "failed"] + ["done"] * 3
    assert records[2].reasons == ["its worker process died"]
    assert records[4].reasons == ["no end after 8 s (the limit for one trial)"]
    assert (records[5].reason, records[5].attempts) == ("its worker process died", 2)
    assert (records[1].attempts, records[3].attempts, records[1].reasons, records[3].reasons) == (1, 1, [], [])
    assert records[6].reasons[0].startswith("out of memory (MemoryError: ); run fewer at a time (--parallel)")


def test_a_request_no_node_can_meet_is_refused_with_a_remedy(cluster, tmp_path):
    from plastsearch.execute.ray_tune import RayExecutor

    with pytest.raises(ClusterError, match=r"asks for 4 GPUs \(the largest node has 0\).*lower resources.gpu"):
        RayExecutor(tmp_path, Request(cpu=1, gpu=4))
    with pytest.raises(ClusterError, match=r"1 robot .*resources.custom.robot"):
        RayExecutor(tmp_path, Request(cpu=1, custom={"robot": 1}))


def test_an_address_where_nobody_listens_is_refused_at_once(tmp_path):
    code = "import sys; from pathlib import Path; from plastsearch.execute.ray_tune import RayExecutor\n"
    code += "from plastsearch.errors import ClusterError\n"
    code += "try: RayExecutor(Path(sys.argv[1]), address='127.0.0.1:1')\nexcept ClusterError as error: print(error)"
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert found.stdout.startswith("no Ray cluster answers at '127.0.0.1:1' ([Errno 111] Connection refused); check")
    assert found.stderr == ""


def test_a_machine_that_is_too_busy_for_ray_is_told_in_a_sentence(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom plastsearch.execute import ray_cluster\n"
        "def late(**_): raise Exception('The current node timed out during startup. This could happen because')\n"
        "ray_cluster.ray.init = late\nfrom plastsearch.errors import ClusterLostError\n"
        "try: ray_cluster.Cluster()\nexcept ClusterLostError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stdout.startswith("Ray did not start on this machine in the 30 s that it gives itself"), found.stderr
    assert found.stderr == ""


def test_requests_follow_the_cluster():
    assert Request().on([NodeKind({"CPU": 8.0}, 1)]) == {"CPU": 1.0}
    growing = NodeKind({"CPU": 8.0, "GPU": 2.0}, 3)
    assert Request().on([growing]) == {"CPU": 4.0, "GPU": 1.0}
    assert growing.holds({"CPU": 4.0, "GPU": 1.0}) == 6
    # Nodes without a GPU are there for other work: their cores are no share of a trial that needs one.
    assert Request().on([NodeKind({"CPU": 64.0}, 4), growing]) == {"CPU": 4.0, "GPU": 1.0}
    assert NodeKind({"CPU": 1.0, "GPU": 1.0}, 1).holds({"GPU": 0.2}) == 5


def test_nodes_without_a_gpu_have_no_say_in_a_trials_share_of_the_cores():
    """The group that decodes corpora has cores that no trial on a GPU ever sees."""
    decoding, gpu, poor = NodeKind({"CPU": 8}, 1), NodeKind({"CPU": 8, "GPU": 1}, 8), NodeKind({"CPU": 12, "GPU": 4}, 2)
    assert Request().on([decoding, gpu]) == {"CPU": 8.0, "GPU": 1.0}
    assert Request().on([decoding, gpu, poor]) == {"CPU": 3.0, "GPU": 1.0}
    assert Request(gpu=0.5).on([gpu, poor]) == {"CPU": 1.0, "GPU": 0.5}
    assert sum(kind.holds(Request().on([decoding, gpu, poor])) for kind in (decoding, gpu, poor)) == 16


DRIVER = """
import sys
from pathlib import Path
from plastsearch.sweep.budget import Limits
from plastsearch.execute.ray_tune import RayExecutor
from plastsearch.execute.resources import Request
from tests.sweep.conftest import Rig

executor = RayExecutor(Path(sys.argv[1]), Request(cpu=1), parallel=1)
rig = Rig(Path(sys.argv[1]) / "sweep", limits=Limits(trials=2))
sweep = rig.open()
executor.run(sweep)
executor.close()
heavy = {"torch", "transformers", "tensorboardX"} & set(sys.modules)
print("over", sweep.over, "heavy", sorted(heavy))
"""


def processes_of(folder):
    """Command lines of live processes that mention the folder."""
    found = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if str(folder) in line and "ps -eww" not in line]


def test_the_driver_is_silent_light_and_leaves_no_process(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment.pop("PYTEST_CURRENT_TEST", None)
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert (out, err) == ("over True heavy []\n", "")
    assert process.returncode == 0
    assert processes_of(f"ps-{os.getuid()}/{process.pid}") == []
    assert not list(tmp_path.glob("**/.tune"))


@pytest.mark.parametrize(
    ("number", "times", "seconds"),
    [
        pytest.param(signal.SIGTERM, 1, 2.0, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 1, 2.0, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 2, 400.0, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 2, 400.0, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_whole_group_parts_or_stops_and_leaves_no_process(tmp_path, number, times, seconds):
    """What a terminal does on Ctrl-C and a batch system at its limit: Ray must not die of it."""
    process = start(tmp_path, "tune", "search.trials=4", "search.parallel=2", "resources.cpu=1", seconds=seconds)
    wait_for(process, "start", 1)
    began = time.monotonic()
    for _ in range(times):
        os.killpg(process.pid, number)
        time.sleep(0.2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out.splitlines()[-1])["outcome"] == "interrupted"
    assert time.monotonic() - began < 40
    assert processes_of(f"ps-{os.getuid()}/{process.pid}") == []
    states = {record.state for record in trials(read(tmp_path / "fake")).values()}
    assert "failed" not in states  # what we stop ourselves is nobody's failure


TYPED = """
import functools, sys
from plastsearch.sweep import options
from plastsearch.cli.main import main
options.Options = functools.partial(
    options.Options, trial="tests.sweep.fake_trials:trial", finalist="tests.sweep.fake_trials:trial"
)
sys.argv[1:1] = ["sweep"]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("daemon", ["raylet/raylet", "gcs_server"])
def test_a_ray_that_dies_ends_at_130_with_the_resume_command(tmp_path, daemon):
    process = start(tmp_path, "tune", "search.trials=4", "search.parallel=2", "resources.cpu=1", seconds=400.0)
    wait_for(process, "start", 1)
    found = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    ours = [line.split() for line in found.splitlines() if f"ps-{os.getuid()}/{process.pid}" in line]
    os.kill(next(int(pid) for pid, program, *_ in ours if program.endswith(daemon)), signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in out + err
    assert processes_of(f"ps-{os.getuid()}/{process.pid}") == []
    assert trials(read(tmp_path / "fake"))[1].state == "running"
    assert read(tmp_path / "fake")[-1].status == "interrupted"


@pytest.mark.slow
def test_a_sigterm_to_every_process_still_ends_with_a_report(tmp_path):
    """What systemd and some batch systems do: the driver, Ray's daemons and the workers all get it at once."""
    environment = {
        **os.environ,
        "FAKE_TRIAL_S": "400",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    (tmp_path / "fake.yaml").write_text(SPACE)
    overrides = [word for text in ("search.parallel=2", "resources.cpu=1") for word in ("--set", text)]
    process = subprocess.Popen(
        [sys.executable, "-c", TYPED, str(tmp_path / "fake.yaml"), "--out", str(tmp_path), *overrides],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while " 1 started: " not in process.stderr.readline():
        assert process.poll() is None
    found = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in found.splitlines() if f"ps-{os.getuid()}/{process.pid}" in line]
    assert [name for name in ("gcs_server", "raylet/raylet") if name not in " ".join(lines)] == []
    ours = [int(line.split()[0]) for line in lines]
    for pid in [process.pid, *ours]:
        os.kill(pid, signal.SIGTERM)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert "Results:" in out
    assert "go on with: plastsearch sweep" in err
    assert (tmp_path / "fake" / "report" / "report.md").is_file()
    assert read(tmp_path / "fake")[-1].status == "interrupted"
    assert processes_of(f"ps-{os.getuid()}/{process.pid}") == []


def test_a_worker_that_lost_its_gpu_is_ended_after_its_trial(rig, cluster, tmp_path):
    orders = {2: f"sticky-once:{tmp_path / 'met'}"}
    records = run(rig, cluster, rng=Dice(orders=orders), limits=Limits(trials=8), options={"slots": 1})
    assert {record.state for record in records.values()} == {"done"}
    assert records[2].reasons[0].startswith("RuntimeError: CUDA error: device-side assert triggered")
    before, after = ({records[n].node for n in numbers} for numbers in ((0, 1), range(2, 9)))
    assert not before & after  # slots: 1, so the worker of trials 0 and 1 had met the error
