"""A process that lost its GPU runs nothing more: the next trial gets a fresh one. GPUs are asked for, not hoped for."""

from pathlib import Path
from typing import Any

import pytest
import torch

from plastsearch.execute import worker
from plastsearch.execute.inline import InlineExecutor
from plastsearch.execute.messages import Task
from plastsearch.execute.ray_tune import RayExecutor
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.sweep.options import Options
from plastsearch.sweep.tasks import task_of
from plastsearch.tracking.records import TrialRecord
from tests.execute.test_worker import end_of
from tests.sweep.fake_trials import Dice

STICKY = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"


@pytest.mark.parametrize("words", [STICKY, "CUDA error: an illegal memory access was encountered"])
def test_a_cuda_error_that_stays_is_the_end_of_its_process(words, monkeypatch):
    end = end_of(monkeypatch, RuntimeError(words))
    assert (end.kind, end.again, end.gpu_lost) == ("failed", True, True)


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: out of memory"), ValueError("a bug"), MemoryError()])
def test_other_failures_leave_it_usable(error, monkeypatch):
    assert not end_of(monkeypatch, error).gpu_lost


@pytest.mark.parametrize("answers", [True, False])
def test_whatever_the_words_the_gpu_itself_is_asked(answers, monkeypatch):
    def synchronize():
        if not answers:
            raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert end_of(monkeypatch, RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")).gpu_lost is not answers


def test_a_sweep_in_one_process_parts_there_and_loses_nothing(rig, tmp_path):
    it = rig(rng=Dice(orders={1: f"sticky-once:{tmp_path / 'met'}"}))
    sweep = it.open()
    executor = InlineExecutor()
    executor.run(sweep)
    it.journal.close()
    assert executor.trouble == worker.GPU_LOST
    assert not sweep.over
    states = [record.state for record in it.records().values()]
    assert states.count("done") == 1
    again = it.run()
    assert again.over
    records = it.records()
    assert {record.state for record in records.values()} == {"done"}
    assert records[1].reasons == [f"RuntimeError: {STICKY}"]


def _settings(executor: Any, kind: str = "tune", **more: Any) -> RunSettings:
    options = Options(root=Path("runs"), executor=kind, **more)
    record = TrialRecord(0, "0" * 12, "search", None, {}, TrialConfig().model_dump(mode="json", by_alias=True))
    return task_of(options, executor, Path("runs/s"))(record, False).settings


@pytest.mark.parametrize(("request_", "device"), [({"CPU": 1.0, "GPU": 0.5}, "cuda"), ({"CPU": 1.0}, "cpu")])
def test_a_request_for_a_gpu_is_passed_on_to_the_trial(request_, device):
    executor = object.__new__(RayExecutor)  # without starting a Ray
    executor.request = request_
    assert _settings(executor).device == device


def test_a_trial_is_charged_with_its_share_of_a_gpu():
    executor = object.__new__(RayExecutor)
    for request, share in ({"CPU": 1.0, "GPU": 0.2}, 0.2), ({"CPU": 1.0, "GPU": 2.0}, 2.0):
        executor.request = request
        assert _settings(executor).gpu_share == share


@pytest.mark.parametrize(("gpus", "device"), [(None, "auto"), (0.0, "cpu"), (1.0, "cuda")])
def test_in_one_process_what_was_asked_for_counts(gpus, device):
    assert _settings(InlineExecutor(gpus=gpus), "inline").device == device


def test_the_determinism_switch_reaches_the_trial_and_the_command_to_go_on():
    assert _settings(InlineExecutor(), "inline", deterministic=True).deterministic
    assert not _settings(InlineExecutor(), "inline").deterministic
    assert "--deterministic" in Options(root=Path("r"), deterministic=True).command(Path("r/s"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_worker_without_the_gpu_it_was_promised_fails_and_is_tried_elsewhere(tmp_path):
    settings = RunSettings(device="cuda", store=tmp_path / "s", cache=tmp_path / "c")
    *_, end = worker.messages(Task(function=worker.TRIAL, config=TrialConfig(method="baseline"), settings=settings))
    assert (end.kind, end.again) == ("failed", True)
    assert end.reason.startswith("a GPU was asked for (device 'cuda'), but torch")
    assert not end.gpu_lost
