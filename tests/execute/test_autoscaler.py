"""An empty cluster whose nodes an autoscaler brings: it is waited for aloud, and given up where that is no use."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from plastsearch.errors import ClusterError
from plastsearch.execute.autoscaler import GROUPS, PATIENCE, NodeWait, declared_groups, patience_s

NAMESPACES = ["unshare", "--net", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child"]


def test_groups_are_read_as_the_manifest_declares_them():
    text = '[{"name": "gpu", "resources": {"CPU": 8, "GPU": 1}, "max": 4}, {"resources": {"CPU": 2}, "max": 0}]'
    gpu, cpu = declared_groups({GROUPS: text})
    assert (gpu.resources, gpu.count, gpu.holds({"CPU": 4, "GPU": 0.5})) == ({"CPU": 8, "GPU": 1}, 4, 8)
    assert cpu.holds({"CPU": 1}) == 0
    assert declared_groups({}) == declared_groups({GROUPS: " "}) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [("gpu=4", "Invalid JSON"), ('[{"max": 2}]', "0.resources"), ('[{"resources": {"CPU": "many"}, "max": 2}]', "CPU"),
     ('[{"resources": {}, "max": -1}]', "0.max"), ('[{"resources": {}, "max": 1, "min": 0}]', "0.min")],
)  # fmt: skip
def test_groups_that_cannot_be_read_are_refused_with_an_example(text, said):
    with pytest.raises(ClusterError, match=rf'{GROUPS}: .*{said}.*lists worker groups such as \[{{"name": "gpu"'):
        declared_groups({GROUPS: text})


@pytest.mark.parametrize("text", ["soon", "0", "-5", "nan"])
def test_a_wait_that_is_no_time_is_refused(text):
    with pytest.raises(ClusterError, match=f"{PATIENCE}={text}: give a number of seconds above 0"):
        patience_s({PATIENCE: text})
    assert patience_s({PATIENCE: "90"}) == 90
    assert patience_s({}) == 1800


def test_a_wait_is_told_after_a_while_then_every_minute_and_forgotten_when_a_worker_begins():
    wait = NodeWait({"CPU": 8.0, "GPU": 1.0}, 4, 1800.0)
    said = {now: text for now in range(0, 150, 2) if (text := wait.look(True, float(now), lambda: []))}
    assert list(said) == [10, 70, 130]
    assert said[70] == ("waiting for a node that holds 8 CPU, 1 GPU, for 1 min 10 s now; room for 4 at a time may come")
    assert wait.look(False, 150.0, lambda: []) is None
    assert wait.look(True, 160.0, lambda: []) is None
    assert wait.look(True, 171.0, lambda: []) is not None


def test_a_wait_ends_at_its_deadline():
    wait = NodeWait({"CPU": 8.0}, 4, 60.0)
    wait.look(True, 0.0, lambda: [])
    wait.look(True, 59.0, lambda: [])
    with pytest.raises(ClusterError, match=r"no node that holds 8 CPU came in 1 min 00 s .*PLASTSEARCH_NODE_WAIT_S"):
        wait.look(True, 61.0, lambda: [])


def test_a_wait_ends_when_the_autoscaler_calls_it_infeasible_twice():
    wait = NodeWait({"CPU": 8.0, "GPU": 1.0}, 0, 1800.0)
    others = [{"CPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}]
    for now in range(20):
        wait.look(True, float(now), lambda: others)
    ours = [*others, {"CPU": 8.0, "GPU": 1.0, "bundle": 0.001}]
    wait.look(True, 20.0, lambda: ours)
    with pytest.raises(ClusterError, match="the autoscaler has no group of nodes that holds 8 CPU, 1 GPU; lower"):
        wait.look(True, 25.0, lambda: ours)


def test_where_nobody_brings_nodes_there_is_no_deadline_and_nobody_to_ask():
    wait = NodeWait({"CPU": 1.0}, 1, None)
    said = [text for now in range(0, 10_000, 5) if (text := wait.look(True, float(now), pytest.fail))]
    assert "autoscaler" not in " ".join(said)


def _isolated() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False)
    return tried.returncode == 0


def run(scenario):
    """Ray's own autoscaler and real raylets; nothing but their machines is pretended."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with tempfile.TemporaryDirectory(prefix="as") as folder:  # a short path: sockets lie below
        words = [*NAMESPACES, sys.executable, "-m", "tests.execute.autoscaled_sweep", folder, scenario]
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


needs_namespaces = pytest.mark.skipif(
    not _isolated(), reason="needs the right to make namespaces (unshare), as root has it"
)


@pytest.mark.ray
@needs_namespaces
@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param("empty", marks=pytest.mark.slow),
        pytest.param("restart", marks=pytest.mark.slow),
        pytest.param("infeasible", marks=pytest.mark.slow),
        pytest.param("undeclared", marks=pytest.mark.slow),
    ],
)
def test_a_sweep_on_a_cluster_without_nodes(scenario):
    found = run(scenario)
    if scenario == "infeasible":
        assert (found["exit"], found["ends"]) == (3, []), found
        assert "the autoscaler has no group of nodes that holds 4 CPU; lower resources" in found["error"]
        return
    if scenario == "undeclared":
        assert (found["exit"], found["ends"]) == (3, []), found
        assert "nobody says what its autoscaler may bring: declare the groups" in found["error"]
        return
    assert found["exit"] == 0, found
    assert len(found["ends"]) == len(set(found["ends"])) >= 8
    # Two nodes with a core each may come, and nobody set search.parallel: both are asked for before one has worked.
    assert scenario == "restart" or found["at_once"] == 2, found


@pytest.mark.slow
@pytest.mark.ray
@needs_namespaces
def test_the_first_worker_that_comes_decodes_the_corpus_before_any_trial_asks_for_one():
    found = run("real")
    assert (found["exit"], sorted(found["ends"])) == (0, [0, 1]), found
    decoded = [text for text in found["notes"] if text.startswith("decoding synthetic")]
    assert [text.split(",")[0] for text in decoded if "64 of 64" in text] == [
        f"decoding synthetic {split}: 64 of 64 clips" for split in ("train", "dev")
    ]
