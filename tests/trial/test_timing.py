"""Times: a ratio that holds on a loaded machine, counted operations, turns."""

import multiprocessing
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from plastsearch.trial.timing import StepUnderTest, _summary, backward_gflop, interleave, saved_bytes, turn

sys.path.insert(0, str(Path(__file__).parent))

CPU = torch.device("cpu")


def step_of(layers: int, learn_from: int = 0) -> StepUnderTest:
    module = nn.Sequential(*(nn.Linear(256, 256) for _ in range(layers)))
    for layer in list(module)[:learn_from]:
        layer.requires_grad_(False)
    x = torch.randn(64, 256)
    learning = [p for p in module.parameters() if p.requires_grad]
    return StepUnderTest(lambda: module(x).square().mean(), torch.optim.AdamW(learning, lr=1e-6))


def test_operations_of_the_backward_pass_are_counted() -> None:
    one = 2 * 64 * 256 * 256 / 1e9
    assert backward_gflop(step_of(4)) == pytest.approx(one * 7)  # four weights, three inputs: the first needs none
    assert backward_gflop(step_of(4, learn_from=3)) == pytest.approx(one)


def test_autograd_keeps_what_the_layers_read() -> None:
    module = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 256))
    x = torch.randn(64, 256)
    step = StepUnderTest(lambda: module(x).square().mean(), None)
    assert saved_bytes(step, module) == 3 * 64 * 256 * 4


def test_times_are_medians_and_ratios_ignore_disturbed_rounds() -> None:
    pairs = [((1.0, 2.0 * k, 0.5), (1.0, 4.0, 0.5)) for k in (1, 1, 1, 10, 30)]
    timing = _summary(pairs)
    assert (timing.forward_ms, timing.backward_ms, timing.optimizer_ms) == (1.0, 2.0, 0.5)
    assert timing.backward_ratio == 0.5
    assert timing.backward_cv > 1


def _burn(stop: "multiprocessing.synchronize.Event") -> None:
    x = torch.randn(300, 300)
    while not stop.is_set():
        x @ x


def test_ten_measurements_under_load_agree() -> None:
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    load = [context.Process(target=_burn, args=(stop,), daemon=True) for _ in range(2)]
    for process in load:
        process.start()
    try:
        step, reference = step_of(8, learn_from=4), step_of(8)
        ratios = [interleave(step, reference, 20, CPU).backward_ratio for _ in range(10)]
    finally:
        stop.set()
        for process in load:
            process.join()
    middle = sorted(ratios)[5]
    assert max(abs(ratio - middle) for ratio in ratios) <= max(0.1 * middle, 0.02)
    assert middle == pytest.approx(7 / 15, abs=0.12)


def test_the_thread_clock_does_not_count_waiting() -> None:
    def slow_forward() -> torch.Tensor:
        time.sleep(0.02)
        return torch.ones((), requires_grad=True) * 2

    timing = interleave(StepUnderTest(slow_forward, None), StepUnderTest(slow_forward, None), 3, CPU)
    assert timing.forward_ms < 10


def test_only_one_times_at_a_time() -> None:
    inside, most = 0, 0

    def measure() -> None:
        nonlocal inside, most
        with turn(CPU, exclusive=True):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    threads = [threading.Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == 1
