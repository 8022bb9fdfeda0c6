"""A trial killed at any moment ends with the weights and metrics of an undisturbed one; failures are results."""

import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from plastsearch.errors import TrialError
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import RunSettings
from plastsearch.store.stages import StageStore
from plastsearch.training import fit
from plastsearch.trial import context
from plastsearch.trial.run import run_trial

sys.path.insert(0, str(Path(__file__).parent))
from conftest import AS_TRAINED, alike, make_config, steady

CONFIG = {"method": "plasticity", "regime": "unfrozen", "model": {"dropout": 0.1}, "train": {"evaluations": 2}}


def _child(config: TrialConfig, settings: RunSettings, kill_at: int | None, ends: Any) -> None:
    """Run a trial in a process of its own, which may kill itself during an optimiser step."""
    torch.set_num_threads(1)
    count = 0
    step = fit._train_step

    def counted(*args: Any) -> None:
        nonlocal count
        count += 1
        step(*args)
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    fit._train_step = counted
    *_, final = run_trial(config, settings)
    ends.put((steady(final), final.details["model_key"], count))


def _run(config: TrialConfig, settings: RunSettings, kill_at: int | None = None, kill_s: float | None = None) -> Any:
    """The end of a trial in another process, or None if it was killed."""
    context = multiprocessing.get_context("fork")
    ends = context.SimpleQueue()
    process = context.Process(target=_child, args=(config, settings, kill_at, ends))
    process.start()
    if kill_s is not None:
        time.sleep(kill_s)
        process.kill()
    process.join(240)
    if process.exitcode == -signal.SIGKILL:
        return None
    assert process.exitcode == 0
    return ends.get()


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    store = tmp_path_factory.mktemp("undisturbed")
    settings = RunSettings(store=store, cache=cache, device="cpu", cache_prefix=False, exclusive_timing=False)
    metrics, key, _ = _run(make_config(**CONFIG), settings)
    return metrics, StageStore(store).load(key)


def _compare(ended: Any, undisturbed: Any, store: Path) -> None:
    """To rounding: another process has its tensors elsewhere in memory. One lost step or draw moves far more."""
    metrics, key, _ = ended
    alike(metrics, undisturbed[0])
    weights = StageStore(store).load(key)
    assert weights.keys() == undisturbed[1].keys()
    for name, tensor in undisturbed[1].items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=AS_TRAINED)


@pytest.mark.parametrize("kill_at", [2, 8, 11])  # in train, retrain and consolidate, each after a checkpoint
def test_a_killed_trial_goes_on_where_it_stood(kill_at, undisturbed, settings) -> None:
    where = settings(checkpoint_s=0)
    assert _run(make_config(**CONFIG), where, kill_at=kill_at) is None
    ended = _run(make_config(**CONFIG), where)
    assert ended[2] == 12 - (kill_at - 1)  # the step it died in is the only one done twice
    _compare(ended, undisturbed, where.store)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_trial_killed_at_random_goes_on_where_it_stood(seed, undisturbed, settings) -> None:
    draw = random.Random(seed)
    where = settings(checkpoint_s=draw.choice([0, 0.05, 60]))
    for _ in range(draw.randint(1, 4)):
        _run(make_config(**CONFIG), where, kill_s=draw.uniform(0.05, 3))
    _compare(_run(make_config(**CONFIG), where), undisturbed, where.store)


def _dies_holding(config: TrialConfig, settings: RunSettings, reached: Any, go: Any) -> None:
    step = fit._train_step

    def slow(*args: Any) -> None:
        step(*args)
        if args[3].step == 3:  # three steps are in the checkpoint
            reached.set()
            go.wait(60)
            os.kill(os.getpid(), signal.SIGKILL)

    fit._train_step = slow
    list(run_trial(config, settings))


def _waits(config: TrialConfig, settings: RunSettings, go: Any, ends: Any) -> None:
    context.TrialContext.end_if_asked = lambda _: go.set()  # asked between two looks at the lease
    step, count = fit._train_step, []
    fit._train_step = lambda *args: (count.append(1), step(*args))
    *_, final = run_trial(config, settings)
    ends.put((final.metrics["waited_seconds"], len(count), steady(final), final.details["model_key"]))


def test_who_waits_takes_over_from_a_killed_holder_and_goes_on_from_its_checkpoint(undisturbed, settings) -> None:
    where, context = settings(checkpoint_s=0), multiprocessing.get_context("fork")
    reached, go, ends = context.Event(), context.Event(), context.SimpleQueue()
    holder = context.Process(target=_dies_holding, args=(make_config(**CONFIG), where, reached, go))
    holder.start()
    assert reached.wait(60)
    heir = context.Process(target=_waits, args=(make_config(**CONFIG), where, go, ends))
    heir.start()
    waited, count, *ended = ends.get()
    holder.join(60)
    heir.join(60)
    assert holder.exitcode == -signal.SIGKILL
    assert waited > 0
    assert count == 12 - 3
    _compare((*ended, None), undisturbed, where.store)


def _short_of_disk(config: TrialConfig, settings: RunSettings, most: int, ends: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    with pytest.raises(TrialError) as refused:
        list(run_trial(config, settings))
    ends.put(str(refused.value))


@pytest.mark.slow
@pytest.mark.parametrize(("checkpoint_s", "words"), [(60, "stage train could not be stored"), (0, "no checkpoint")])
def test_a_full_disk_ends_the_trial_with_the_reason_and_leaves_nothing_half(checkpoint_s, words, settings) -> None:
    config, where = make_config(**CONFIG), settings(checkpoint_s=checkpoint_s)
    list(run_trial(make_config(), settings(store=where.store / "warm")))  # the clips are decoded
    context = multiprocessing.get_context("fork")
    ends = context.SimpleQueue()
    process = context.Process(target=_short_of_disk, args=(config, where, 40_000, ends))
    process.start()
    process.join(60)
    said = ends.get()
    assert words in said
    assert "make room (`plastsearch store gc`)" in said
    left = [path for path in where.store.rglob("*") if path.is_file() and "warm" not in path.parts]
    assert left == []
    assert _run(config, where) is not None


def test_sigterm_checkpoints_first_and_then_ends_the_process(undisturbed, settings, monkeypatch) -> None:
    where = settings(checkpoint_s=1000)
    context = multiprocessing.get_context("fork")
    step = fit._train_step

    def asked_to_end(*args: Any) -> None:
        step(*args)
        if args[3].step == 3 and args[1].stage == "train":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(fit, "_train_step", asked_to_end)
    process = context.Process(target=_child, args=(make_config(**CONFIG), where, None, context.SimpleQueue()))
    process.start()
    process.join(120)
    monkeypatch.undo()
    assert process.exitcode == -signal.SIGTERM
    ended = _run(make_config(**CONFIG), where)
    assert ended[2] == 8
    _compare(ended, undisturbed, where.store)


def test_a_loss_that_is_not_finite_ends_the_trial_with_the_reason(settings) -> None:
    with pytest.raises(TrialError, match=r"the loss became (nan|inf) in train at step \d+ .*lower train\.lr"):
        list(run_trial(make_config(train={"lr": 1e9, "clip_norm": 1e9, "warmup": 0}, model={"name": "resnet18"},
                                   layers=("layer3.0",)), settings()))  # fmt: skip


def _out_of_memory(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulate, left = fit._accumulate, [times]

    def short(*args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory (pretended)")
        return accumulate(*args)

    monkeypatch.setattr(fit, "_accumulate", short)


@pytest.mark.slow
def test_out_of_memory_is_retried_in_halves_of_the_same_batch(settings, tmp_path, monkeypatch) -> None:
    config = make_config(method="baseline", model={"name": "wav2vec2"}, layers=())
    *_, plain = run_trial(config, settings(store=tmp_path / "plain"))
    _out_of_memory(1, monkeypatch)
    *_, halved = run_trial(config, settings())
    said = [text for text in halved.details["warnings"] if "times vary" not in text]  # a busy machine is warned of, too
    assert said[0].startswith("train: out of memory, retried with 2 micro-batches")
    assert halved.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=1e-3)


@pytest.mark.slow
def test_out_of_memory_with_single_clips_ends_the_trial(settings, monkeypatch) -> None:
    _out_of_memory(4, monkeypatch)  # 1, 2, 4 and 8 parts of 8 clips
    with pytest.raises(TrialError, match="out of memory in train at step 1, also with one clip at a time"):
        list(run_trial(make_config(method="baseline"), settings()))


def test_the_best_state_is_a_copy(settings) -> None:
    """Its dev error is that of the final report, although later steps went on changing the weights."""
    *_, final = run_trial(make_config(method="baseline", train={"steps": 12, "lr": 0.05, "evaluations": 6}), settings())
    record = StageStore(settings().store).find(final.details["model_key"])
    assert record is not None
    best = min((eer, loss) for _, _, eer, loss in record.details["history"])
    assert (final.metrics["dev_eer"], record.metrics["dev_loss"]) == best
    assert record.details["steps_taken"] == 6


def test_early_stopping_is_marked_as_an_unequal_budget(settings) -> None:
    train = {"steps": 40, "lr": 0.2, "evaluations": 10, "early_stop": 1}
    *_, final = run_trial(make_config(method="baseline", train=train), settings())
    assert final.details["unequal_budget"] is True
    assert any("of 20 steps: unequal budget" in text for text in final.details["warnings"])
