"""On a GPU a step keeps the host free, is timed on its stream, fits into the memory there is, and can be resumed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from plastsearch.errors import TrialError
from plastsearch.growth.dropin import add_neurons_
from plastsearch.models.build import build
from plastsearch.training import fit as fit_of
from plastsearch.training.checkpoint import Checkpoints, Stopped
from plastsearch.training.fit import fit, make_optimizer
from plastsearch.training.losses import build_loss
from plastsearch.training.state import FitInputs, FitSettings, FitState, Quality
from plastsearch.trial.device import TrainingMemory, physical_name, pick_device
from plastsearch.trial.timing import StepUnderTest, interleave
from tests.gpu.conftest import SITES, waves

STEPS = 12


class Clips:
    """The same clips at every step, on the device already; of one step they are broken."""

    def __init__(self, device: torch.device, clips: int = 4, samples: int = 8000, broken: int | None = None) -> None:
        self.wave_BT, self.label_B = (part.to(device) for part in waves(clips, samples))
        self.broken = broken

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        return (self.wave_BT * float("nan") if step + 1 == self.broken else self.wave_BT), self.label_B


def _on(module: nn.Module, feed: Clips, device: torch.device) -> FitInputs:
    loss = build_loss("cross_entropy", (1, 1)).to(device)
    return FitInputs(module, module, loss, feed, lambda: Quality(10.0, 1.0), module.train, device)


def _plan(bf16: bool = False, steps: int = STEPS) -> FitSettings:
    return FitSettings("train", steps, 1e-3, 0.1, 0.01, 1.0, 1, 1, 0, bf16, 0)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("grown", [False, True])
@pytest.mark.parametrize("name", sorted(SITES))
def test_no_step_makes_the_host_wait(name: str, grown: bool, bf16: bool, gpu: torch.device) -> None:
    module = build(name, "tiny", seed=3).to(gpu)
    if grown:
        add_neurons_(module, {SITES[name]: 16}, also=["head"], generator=torch.Generator().manual_seed(0))
    on, plan, state = _on(module.train(), Clips(gpu), gpu), _plan(bf16), FitState()
    optimizer = make_optimizer(module, 1e-3, 0.01)
    for _ in range(2):  # libraries set themselves up
        fit_of._train_step(on, plan, optimizer, state)
    torch.cuda.synchronize(gpu)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            fit_of._train_step(on, plan, optimizer, state)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(state.unread) == 5


def test_a_lost_loss_is_told_with_its_step(device: torch.device, tmp_path: Path) -> None:
    on = _on(build("grnn", "tiny").to(device), Clips(device, broken=3), device)
    with pytest.raises(TrialError, match="the loss became nan in train at step 3 "):
        list(fit(on, _plan(), Checkpoints(tmp_path, 1000.0), lambda: False))


def test_a_stage_goes_on_where_it_was_stopped(device: torch.device, tmp_path: Path) -> None:
    def run(folder: str, stop: Callable[[], bool]) -> nn.Module:
        module = build("grnn", "tiny", seed=3, dropout=0.2).to(device)
        for _ in fit(_on(module, Clips(device), device), _plan(), Checkpoints(tmp_path / folder, 1000.0), stop):
            pass
        return module

    def after(steps: int) -> Iterator[bool]:
        for _ in range(2 * steps - 1):  # asked twice a step
            yield False
        while True:
            yield True

    asked = after(5)
    whole = run("whole", lambda: False)
    with pytest.raises(Stopped):
        run("parts", lambda: next(asked))
    resumed = run("parts", lambda: False)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_less_work_takes_less_time(device: torch.device) -> None:
    def step(learning: int) -> StepUnderTest:
        layers = [nn.Linear(1024, 1024, device=device) for _ in range(8)]
        for layer in layers[: 8 - learning]:
            layer.requires_grad_(False)
        module, x = nn.Sequential(*layers), torch.randn(512, 1024, device=device)
        return StepUnderTest(lambda: module(x).square().mean(), make_optimizer(module, 1e-6, 0.0))

    found = interleave(step(2), step(8), 5, device)
    assert 0 < found.backward_ratio < 0.8  # 3 of 15 matrix products
    assert 0 < found.backward_ms < 10_000


def test_the_peak_leaves_out_what_was_taken_between_steps(gpu: torch.device) -> None:
    memory = TrainingMemory(gpu)
    torch.zeros(2**20, device=gpu)
    with memory.outside():
        torch.zeros(64 * 2**20, device=gpu)
    assert 4 <= memory.metrics()["peak_memory_mb"] < 128


def test_a_gpu_has_one_name_however_it_is_called(gpu: torch.device) -> None:
    program = "import torch; from plastsearch.trial.device import *; print(physical_name(pick_device('cuda')))"
    uuid = f"GPU-{torch.cuda.get_device_properties(gpu).uuid}"
    visible = dict(os.environ, CUDA_VISIBLE_DEVICES=uuid)
    ended = subprocess.run([sys.executable, "-c", program], env=visible, capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == physical_name(pick_device("cuda:0")), ended.stderr


def test_a_batch_that_does_not_fit_is_trained_in_parts(gpu: torch.device) -> None:
    feed = Clips(gpu, clips=32, samples=32_000)

    def step(micro: int) -> tuple[float, FitState]:
        module = build("wav2vec2", "tiny", seed=3).to(gpu)
        state = FitState(micro=micro)
        on = _on(module.train(), feed, gpu)
        fit_of._train_step(on, _plan(), make_optimizer(module, 1e-3, 0.01), state)
        return float(state.unread[0]), state

    def reserved(micro: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(gpu)
        step(micro)
        return torch.cuda.max_memory_reserved(gpu)

    step(1)  # libraries take their workspaces
    whole, parts = reserved(1), reserved(8)
    assert parts < 0.6 * whole
    expected, _ = step(1)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(gpu).total_memory
    torch.cuda.set_per_process_memory_fraction((whole + 2 * parts) / 3 / total, gpu)
    try:
        found, state = step(1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    assert state.halved
    assert found == pytest.approx(expected, rel=1e-3)
