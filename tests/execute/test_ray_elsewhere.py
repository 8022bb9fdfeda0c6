"""What wants cores and no GPU runs on a worker: the clips of a sweep, decoded once for all nodes."""

import contextlib
import os
import signal
import sys
import warnings
from pathlib import Path

import pytest

from plastsearch.errors import DataError
from plastsearch.execute.resources import NodeKind, Request
from plastsearch.preflight.preparing import MODULE, CorpusPreparation, request_for
from tests.noise_corpus import noise_corpus


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    """A head without cores, and a node of two."""
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from plastsearch.execute.ray_tune import RayExecutor  # sets the surroundings before ray is imported
        from ray.cluster_utils import Cluster  # isort: skip

        small = {"include_dashboard": False, "object_store_memory": 80_000_000}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        cluster.add_node(num_cpus=2, object_store_memory=80_000_000)
        executor = RayExecutor(tmp_path_factory.mktemp("sweep"), Request(cpu=1), address=cluster.address)
        yield executor
        executor.close()
        cluster.shutdown()


@pytest.fixture
def data(tmp_path):
    return noise_corpus(tmp_path)


def prepare(executor, data, clips):
    said = []
    child = executor.elsewhere(MODULE, [str(clips)], request_for([data], evaluation=True))
    CorpusPreparation([data], child).wait(said.append)
    return said


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::Warning")
def test_clips_are_decoded_by_a_worker_once(executor, data, tmp_path):
    said = prepare(executor, data, tmp_path / "clips")
    assert [line.split(",")[0] for line in said if ": 10 of 10" in line] == [
        f"decoding manifest {split}: 10 of 10 clips" for split in ("train", "dev", "eval")
    ]
    assert prepare(executor, data, tmp_path / "clips") == []


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::Warning")
def test_clips_that_cannot_be_used_end_the_sweep_in_their_own_words(executor, data, tmp_path):
    bad = tmp_path / "eval3.wav"
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(DataError, match=r"clips.csv:25: eval3.wav: truncated or damaged(.|\n)*data\.on_bad: skip"):
        prepare(executor, data, tmp_path / "clips")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::Warning")
def test_a_worker_that_dies_is_replaced_and_goes_on(executor, data, tmp_path):
    child = executor.elsewhere(MODULE, [str(tmp_path / "clips")], request_for([data], evaluation=False))
    lines = child.lines(lambda text: None)
    said = [next(lines)]
    workers = [pid for pid in _children_running(MODULE) if pid]
    assert len(workers) == 1
    os.kill(workers[0], signal.SIGKILL)
    said += list(lines)
    assert child.ended() == (0, "")
    assert prepare(executor, data, tmp_path / "clips")  # only the evaluation split was left


def _children_running(module):
    """The parents of the processes that run a module: Ray's workers."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and module in (folder / "cmdline").read_text().split("\0"):
                yield int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])


def test_all_cores_of_the_largest_node_without_a_gpu_are_asked_for():
    from plastsearch.execute.ray_elsewhere import cores_for

    head, gpu, cpu = NodeKind({"CPU": 0}, 1), NodeKind({"CPU": 32, "GPU": 4}, 8), NodeKind({"CPU": 8.0}, 1)
    assert cores_for([head, gpu, cpu]) == 8
    assert cores_for([head, gpu]) == 32
    assert cores_for([head]) == 1
