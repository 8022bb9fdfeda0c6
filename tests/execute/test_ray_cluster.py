"""Several Ray nodes on this machine: workers and nodes that die, nodes that come late, trials that hang."""

import os
import signal
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import pytest

from plastsearch.execute.resources import Request
from plastsearch.sweep.budget import Limits
from tests.sweep.fake_trials import Dice

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::Warning"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def nodes():
    """A head without cores; `add` joins a node of so many."""
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    os.environ["FAKE_TRIAL_S"] = "1.0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from plastsearch.execute import ray_cluster  # sets the surroundings before ray is imported
        from ray.cluster_utils import Cluster  # isort: skip

        assert ray_cluster.SILENT
        small = {"include_dashboard": False, "object_store_memory": 80_000_000}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        cluster.add = lambda cpus: cluster.add_node(num_cpus=cpus, object_store_memory=80_000_000)
        yield cluster
        cluster.shutdown()
    del os.environ["FAKE_TRIAL_S"]


def run(rig, cluster, on_event=None, parallel=2, **more):
    from plastsearch.execute.ray_tune import RayExecutor

    it = rig(**more)
    executor = RayExecutor(it.folder, Request(cpu=1), parallel=parallel, address=cluster.address)
    it.options["slots"] = executor.slots
    sweep = it.open()
    if on_event is not None:
        it.feed = on_event
    try:
        executor.run(sweep)
    finally:
        it.journal.close()
        executor.close()
    assert sweep.over
    return it.records()


def once(event_kind, number, action):
    """A listener that acts once, at this moment of the sweep."""
    done = []

    def feed(event):
        if not done and event.kind == event_kind and getattr(event, "trial", None) == number:
            done.append(event)
            action(event)

    return feed


def test_a_killed_worker_costs_one_attempt(rig, nodes):
    nodes.add(2)
    kill = once("report", 2, lambda event: os.kill(int(event.node.rpartition(":")[2]), signal.SIGKILL))
    records = run(rig, nodes, kill, limits=Limits(trials=5, max_failures=2))
    assert {r.state for r in records.values()} == {"done"}
    assert records[2].reasons == ["its worker process died"]
    assert sum(r.failures for r in records.values()) == 1


def test_a_killed_node_moves_its_trials_elsewhere(rig, nodes):
    first, _ = nodes.add(1), nodes.add(1)
    kill = once("report", 3, lambda _: nodes.remove_node(first, allow_graceful=False))
    records = run(rig, nodes, kill, limits=Limits(trials=7, max_failures=2))
    assert {r.state for r in records.values()} == {"done"}
    reasons = [reason for r in records.values() for reason in r.reasons]
    assert 1 <= len(reasons) <= 2
    assert set(reasons) <= {"its node died", "its node does not answer any more"}
    assert sum(r.failures for r in records.values()) == 0  # nobody's configuration is to blame
    assert sum(r.losses for r in records.values()) == len(reasons)


def test_a_worker_out_of_memory_is_ended_tried_again_and_fails_alone(rig, nodes, monkeypatch):
    """By Ray's own memory monitor, which is told that little more than what is in use now may be."""
    total, _, available = (int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()[:3])
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{(total - available + 1_500_000) / total:.3f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    nodes.add(2)
    rng, limits = Dice(orders={1: "hog"}), Limits(trials=4, max_failures=1)
    records = run(rig, nodes, rng=rng, limits=limits)
    assert [r.state for r in records.values()] == ["done", "failed", "done", "done", "done"]
    assert sum(r.failures for r in records.values()) == 1  # whoever was ended beside it is not to blame
    assert records[1].reasons[0].startswith("its worker ran out of memory and was killed; run fewer at a time")
    assert (records[1].reason, records[1].attempts) == (records[1].reasons[0], 2)


def test_a_late_node_is_used(rig, nodes, monkeypatch):
    monkeypatch.setenv("FAKE_TRIAL_S", "6")  # longer than a worker takes to start
    nodes.add(1)
    records = run(rig, nodes, once("start", 1, lambda _: nodes.add(1)), limits=Limits(trials=5))
    assert {r.state for r in records.values()} == {"done"}
    spans = sorted((r.started_at, r.ended_at) for r in records.values())
    assert any(later[0] < earlier[1] for earlier, later in pairwise(spans))  # two at a time
    assert len({r.node for r in records.values()}) >= 2


def test_a_hanging_trial_is_killed_and_tried_again(rig, nodes, tmp_path):
    nodes.add(2)
    rng, limits = Dice(orders={1: f"hang-once:{tmp_path / 'hung'}"}), Limits(trials=3, trial_timeout_s=6.0)
    began = time.monotonic()
    records = run(rig, nodes, rng=rng, limits=limits)
    assert {r.state for r in records.values()} == {"done"}
    assert records[1].reasons == ["no end after 6 s (the limit for one trial)"]
    assert time.monotonic() - began < 200
