"""Times: a ratio that holds on a loaded machine, what autograd keeps, turns."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from plastsearch.errors import PlastsearchError
from plastsearch.spec.running import RunSettings
from plastsearch.trial import cost, timing
from plastsearch.trial.run import run_trial
from plastsearch.trial.timing import (
    StepUnderTest,
    _summary,
    _uncertainty,
    interleave,
    saved_bytes,
    turn,
)
from tests.trial.conftest import MakeSettings, make_config

sys.path.insert(0, str(Path(__file__).parent))

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def temp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of each test's own, with a short path: other tests of this machine take turns, too."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def step_of(layers: int, learn_from: int = 0) -> StepUnderTest:
    module = nn.Sequential(*(nn.Linear(256, 256) for _ in range(layers)))
    for layer in list(module)[:learn_from]:
        layer.requires_grad_(False)
    x = torch.randn(64, 256)
    learning = [p for p in module.parameters() if p.requires_grad]
    return StepUnderTest(lambda: module(x).square().mean(), torch.optim.AdamW(learning, lr=1e-6))


def test_autograd_keeps_what_the_layers_read() -> None:
    module = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 256))
    x = torch.randn(64, 256)
    step = StepUnderTest(lambda: module(x).square().mean(), None)
    assert saved_bytes(step, module) == 3 * 64 * 256 * 4


def test_times_are_medians_and_ratios_ignore_disturbed_rounds() -> None:
    pairs = [((1.0, 2.0 * k, 0.5), (1.0, 4.0, 0.5)) for k in (1, 1, 1, 10, 30)]
    found = _summary(pairs)
    assert (found.forward_ms, found.backward_ms, found.optimizer_ms) == (1.0, 2.0, 0.5)
    assert found.backward_ratio == 0.5
    assert found.backward_cv > 1


@pytest.mark.parametrize(("scatter", "rounds"), [(0.0, 5), (3.0, 20)])
def test_laps_that_scatter_get_more_rounds(scatter: float, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    laps = iter(range(1000))
    monkeypatch.setattr(timing, "_lap", lambda step, device: (1.0, 2.0 + scatter * (next(laps) % 4), 0.5))
    step = step_of(1)
    assert interleave(step, step, 5, CPU).rounds == rounds


def test_uncertainty_falls_with_the_root_of_the_rounds() -> None:
    pairs = [((1.0, 10.0 + k % 3, 1.0), (1.0, 20.0, 1.0)) for k in range(30)]
    assert _uncertainty(pairs * 4) == pytest.approx(_uncertainty(pairs) / 2)


def _burn(stop: "multiprocessing.synchronize.Event") -> None:
    x = torch.randn(300, 300)
    while not stop.is_set():
        x @ x


@pytest.mark.slow
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
    assert 0.35 < middle < 0.75  # 7 / 15 of the work; small layers cost more than their products


def test_the_thread_clock_does_not_count_waiting() -> None:
    def slow_forward() -> torch.Tensor:
        time.sleep(0.02)
        return torch.ones((), requires_grad=True) * 2

    timing = interleave(StepUnderTest(slow_forward, None), StepUnderTest(slow_forward, None), 3, CPU)
    assert timing.forward_ms < 10


def _timed_trial(settings: RunSettings, ready: Any, spans: Any) -> None:
    """A trial whose timing says when it began and ended; stages come from the store, so that both are soon there."""
    measure = cost.interleave

    def watched(*arguments: Any) -> Any:
        begin = time.monotonic()  # one clock for all processes of a machine
        found = measure(*arguments)
        time.sleep(0.2)
        spans.put((begin, time.monotonic()))
        return found

    cost.interleave = watched
    ready.wait(60)
    *_, last = run_trial(make_config(), settings)
    spans.put(last.metrics["waited_seconds"])


@pytest.mark.slow
def test_two_trial_processes_take_turns_to_time(settings: MakeSettings) -> None:
    chosen = settings(exclusive_timing=True)
    list(run_trial(make_config(), chosen))
    context = multiprocessing.get_context("fork")
    ready, spans = context.Barrier(2), context.Queue()
    trials = [context.Process(target=_timed_trial, args=(chosen, ready, spans)) for _ in range(2)]
    for trial in trials:
        trial.start()
    found = [spans.get(timeout=120) for _ in range(4)]
    for trial in trials:
        trial.join(30)
    assert [trial.exitcode for trial in trials] == [0, 0]
    first, second = sorted(one for one in found if isinstance(one, tuple))
    assert first[1] <= second[0]
    assert max(one for one in found if isinstance(one, float)) >= 0.1  # and the second did wait


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


def _waiting_trial(settings: RunSettings, waits: Any) -> None:
    """A trial that says when it begins to wait for its turn."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked process has the handlers of whatever ran before it
    plain = timing.hold

    def watched(*arguments: Any, **more: Any) -> Any:
        waits.set()
        return plain(*arguments, **more)

    timing.hold = watched
    list(run_trial(make_config(), settings))


def test_a_trial_that_waits_for_its_turn_hears_sigterm(settings: MakeSettings) -> None:
    chosen = settings(exclusive_timing=True)
    list(run_trial(make_config(), chosen))  # its stages are in the store: the next one is soon at its timing
    context = multiprocessing.get_context("fork")
    waits = context.Event()
    trial = context.Process(target=_waiting_trial, args=(chosen, waits))
    with turn(CPU, exclusive=True):
        trial.start()
        assert waits.wait(120)
        time.sleep(0.3)
        assert trial.is_alive()
        os.kill(trial.pid, signal.SIGTERM)
        trial.join(60)  # while we still have the turn
        assert trial.exitcode == -signal.SIGTERM


def test_a_turn_that_is_not_given_back_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PATIENCE_S", 0.2)
    with turn(CPU, exclusive=True) as mine:
        assert mine.alone
        with turn(CPU, exclusive=True) as other:
            assert not other.alone
            assert other.waited_s >= 0.2
    with turn(CPU, exclusive=True) as again:
        assert again.alone


def test_every_holder_of_the_turn_is_waited_for_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(timing, "PATIENCE_S", 0.2)
    (file := tmp_path / "turn").touch()
    patience = timing._Patience(file, lambda: None)
    for holder in range(3):
        file.write_text(f"process {holder}")
        time.sleep(0.25)
        patience.look()
    time.sleep(0.25)
    with pytest.raises(timing._HangsError):
        patience.look()


def test_a_trial_whose_turn_never_came_says_so(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PATIENCE_S", 0.1)
    with turn(CPU, exclusive=True):
        *_, last = run_trial(make_config(), settings(exclusive_timing=True))
    assert cost.CROWDED in last.details["warnings"]
    assert last.metrics["waited_seconds"] >= 0.1


def test_a_folder_that_others_made_cannot_stop_a_trial(settings: MakeSettings, temp: Path) -> None:
    """What used to be one name in the temporary folder, which anybody could take: refused before any training."""
    theirs = temp / f"ps-{os.geteuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    with pytest.raises(PlastsearchError, match="is open to other users"):
        next(run_trial(make_config(), settings(exclusive_timing=True)))
    assert next(run_trial(make_config(), settings(exclusive_timing=False)))
