"""Laws of devices: a GPU that was asked for is found or missed, made current, told apart from others, and measured."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from plastsearch.errors import DeviceError
from plastsearch.models.build import build
from plastsearch.spec.running import RunSettings
from plastsearch.trial import device as device_of
from plastsearch.trial import scoring, stages, timing
from plastsearch.trial.context import TrialContext, open_context
from plastsearch.trial.device import TrainingMemory, computes_bf16, physical_name, pick_device, repeatable
from plastsearch.trial.run import run_trial
from tests.trial.conftest import MakeSettings, make_config

GPU = torch.device("cuda", 1)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A machine with two GPUs that do nothing; what is made current is listed."""
    current: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(torch, "zeros", lambda *sizes, device: torch.ones(sizes))
    return current


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:1", 1), ("auto", 0)])
def test_a_gpu_is_made_current_when_it_is_picked(name: str, index: int, two_gpus: list[Any]) -> None:
    assert pick_device(name) == torch.device("cuda", index)
    assert two_gpus == [torch.device("cuda", index)]


def test_a_gpu_that_is_not_there_is_an_error_that_says_which_are(two_gpus: list[Any]) -> None:
    with pytest.raises(DeviceError, match=r"device 'cuda:2': there is no such GPU; this process sees cuda:0 to cuda:1"):
        pick_device("cuda:2")
    assert two_gpus == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_gpu_is_an_error_for_who_asked_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match=r"a GPU was asked for .* can use none here; .*--set resources\.gpu=0"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as where a driver is there and broken
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match=r"a GPU was asked for .* it does not work: .*NVIDIA"):
        pick_device("cuda")


PICK = """
from plastsearch.errors import DeviceError
from plastsearch.trial.device import pick_device
print(pick_device("auto"))
try:
    pick_device("cuda")
except DeviceError as error:
    print(error)
"""


@pytest.mark.skipif(torch.version.cuda is None, reason="this torch was built without CUDA")
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, for a driver to play")
@pytest.mark.parametrize(("knows", "old"), [(12040, True), (99000, False)])
def test_a_driver_that_is_too_old_is_named(knows: int, old: bool, tmp_path: Path) -> None:
    """A container takes its CUDA along, and the driver from its node: the two may not fit."""
    (tmp_path / "driver.c").write_text(f"int cuDriverGetVersion(int *version) {{ *version = {knows}; return 0; }}")
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"], check=True, timeout=60)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PICK], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    device, said = done.stdout.splitlines()
    assert device == "cpu"
    major = torch.version.cuda.partition(".")[0]  # type: ignore[union-attr]
    assert (f"driver knows CUDA 12.4, and torch {torch.__version__} needs a driver for CUDA {major} (" in said) is old
    assert ("or newer): update the driver" in said) is old
    assert "--set resources.gpu=0" in said


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:x"])
def test_an_unknown_device_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(DeviceError, match=rf"device '{name}': unknown; known: auto, cpu, cuda, cuda:N"):
        pick_device(name)


def test_a_trial_that_asked_for_a_gpu_does_not_run_without(settings: MakeSettings, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="a GPU was asked for"):
        list(run_trial(make_config(), settings(device="cuda")))


def test_emulated_bfloat16_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not computes_bf16(GPU)
    assert not computes_bf16(torch.device("cpu"))


def test_one_name_per_physical_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each of two workers calls its own GPU cuda:0; by their UUIDs they need not wait for each other."""
    here = ["GPU-aaaa"]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid=here[0]))
    paths = []

    monkeypatch.setattr(timing, "private_folder", lambda: tmp_path)
    plain = timing.hold
    monkeypatch.setattr(
        timing, "hold", lambda path, *rest, **more: (paths.append(path.name), plain(path, *rest, **more))[1]
    )
    for uuid in ("GPU-aaaa", "GPU-bbbb", "GPU-aaaa"):
        here[0] = uuid
        with timing.turn(torch.device("cuda", 0), exclusive=True):
            pass
    assert paths[0] == paths[2] != paths[1]
    assert physical_name(torch.device("cpu")) == "cpu0"


def test_events_are_recorded_on_the_stream_of_the_trials_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: Any = None) -> None:
            seen.append(stream)

        def elapsed_time(self, _: "Event") -> float:
            return 2.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: seen.append(f"waited for {device}"))
    found = timing._lap(timing.StepUnderTest(lambda: torch.zeros(()), None), GPU)
    assert found == (2.0, 2.0, 2.0)
    assert seen == ["stream of cuda:1"] * 4 + ["waited for cuda:1"]


def test_the_peak_is_that_of_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    peak = [7_000_000]  # left by the stage before
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: peak.__setitem__(0, 1_000_000))
    memory = TrainingMemory(GPU)
    peak[0] = 3_000_000  # steps
    with memory.outside():
        peak[0] = 90_000_000  # scoring
    peak[0] = 2_000_000  # more steps
    assert memory.metrics() == {"peak_memory_mb": 3.0}
    assert TrainingMemory(torch.device("cpu")).metrics() == {}


def test_evaluations_are_outside_of_the_training_memory(settings: MakeSettings, monkeypatch) -> None:
    outside, where = [False], []

    class Watched(TrainingMemory):
        def outside(self) -> Any:
            outside[0] = True
            return super().outside()

    evaluate, step = scoring.evaluate, stages.fit.__globals__["_train_step"]
    monkeypatch.setattr(stages, "TrainingMemory", Watched)
    monkeypatch.setattr(scoring, "evaluate", lambda *a: (where.append(outside[0]), evaluate(*a))[1])
    monkeypatch.setitem(stages.fit.__globals__, "_train_step", lambda *a: (outside.__setitem__(0, False), step(*a))[1])
    list(run_trial(make_config(method="baseline", layers=()), settings()))
    assert where
    assert all(where)


@pytest.fixture
def as_before(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whatever a test switches on is off again."""
    monkeypatch.delenv(device_of.CUBLAS, raising=False)
    yield
    os.environ.pop(device_of.CUBLAS, None)
    repeatable(False)


@pytest.mark.parametrize("name", ["grnn", "resnet18", "wav2vec2"])
def test_the_networks_train_with_deterministic_kernels_only(name: str, as_before: None) -> None:
    repeatable(True)
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ[device_of.CUBLAS] == ":4096:8"
    module = build(name, "tiny").train()
    module(torch.randn(2, 8000)).square().sum().backward()
    repeatable(False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_switch_comes_too_late_once_a_gpu_was_used(as_before: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(DeviceError, match="CUBLAS_WORKSPACE_CONFIG=:4096:8; set it in the environment"):
        repeatable(True)
    monkeypatch.setenv(device_of.CUBLAS, ":16:8")
    repeatable(True)


def _opened(settings: RunSettings) -> TrialContext:
    return open_context(make_config(model={"name": "wav2vec2"}), settings, lambda: False)


def test_deterministic_stages_of_a_gpu_are_shared_among_themselves_only(
    settings: MakeSettings, as_before: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    plain, fixed = _opened(settings()), _opened(settings(deterministic=True))
    assert plain.environment == fixed.environment  # one thread of a CPU repeats itself anyhow
    on_gpu = [replace(context, device=GPU).environment.precision for context in (plain, fixed)]
    assert on_gpu == ["bf16", "bf16+deterministic"]


def test_loaders_are_the_cores_that_wait(settings: MakeSettings) -> None:
    context = _opened(settings())

    def loaders(device: str, threads: int, asked: int | None = None) -> int:
        where = settings(threads=threads, loader_workers=asked)
        return replace(context, device=torch.device(device), settings=where).reading(0).workers

    assert [loaders("cuda", cores) for cores in (1, 2, 6, 64)] == [1, 1, 5, 8]
    assert [loaders("cpu", cores) for cores in (1, 2, 8)] == [0, 0, 2]
    assert loaders("cuda", 6, asked=0) == 0


@pytest.mark.parametrize(
    ("share", "environment", "used_gb", "said"),
    [
        (1.0, {}, 0.6, None),
        (2.0, {}, 0.6, None),
        (0.2, {}, 0.6, "trials get 0.2 of a GPU each"),
        (1.0, {"CUDA_MPS_PIPE_DIRECTORY": "/tmp/mps"}, 0.6, "CUDA MPS is on"),
        (1.0, {}, 7.5, "other processes hold 7.0 GB of it"),
    ],
)
def test_a_gpu_that_others_compute_on_is_told(share, environment, used_gb, said, monkeypatch):
    for name in device_of.MPS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    total = 80e9
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (total - used_gb * 1e9, total))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0.5e9)
    assert device_of.sharing(GPU, share) == said
    assert device_of.sharing(torch.device("cpu"), share) is None


def test_times_beside_others_are_marked(monkeypatch: pytest.MonkeyPatch, settings: MakeSettings) -> None:
    monkeypatch.setattr("plastsearch.trial.cost.sharing", lambda device, share: "CUDA MPS is on")
    (last,) = [report for report in run_trial(make_config(), settings()) if report.final]
    assert last.details["device"]["shared"] == "CUDA MPS is on"
    assert any("not the trial's alone (CUDA MPS is on)" in text for text in last.details["warnings"])
