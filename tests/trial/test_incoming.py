"""The state that enters a stage is a candidate of it: no stage makes a model worse on what it selects by."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from plastsearch.spec.methods import reads
from plastsearch.store.stages import StageStore
from plastsearch.trial import run, scoring
from plastsearch.trial.methods import METHODS
from plastsearch.trial.run import run_trial

sys.path.insert(0, str(Path(__file__).parent))
from conftest import ELSEWHERE, make_config

# A rate at which whatever `train` has learnt is destroyed within a step.
HARMFUL: dict[str, Any] = {"steps": 12, "evaluations": 1, "clip_norm": 1e6, "warmup": 0,
                           "lr_ratios": {"train": 1.0, "retrain": 1e4, "consolidate": 1e4}}  # fmt: skip
LEARNT = {**HARMFUL, "steps": 40}  # enough for `train` to learn something


def travelled(config: Any, settings: Any) -> Any:
    trial = run.start(config, settings, lambda: False)
    list(run.run_stages(trial))
    return trial


@pytest.mark.parametrize(
    ("method", "regime"),
    [(one, regime) for one in sorted(METHODS) for regime in ("frozen", "unfrozen")[: 1 + reads(one, "regime")]],
)
def test_no_stage_of_any_method_ends_worse_than_it_began(method, regime, settings) -> None:
    elsewhere = ELSEWHERE.get(method, {})
    config = make_config(method=method, regime=regime, train=HARMFUL, last_k=1, truncate_to=2, **elsewhere)
    trial = travelled(config, settings())
    for stage, record in zip(trial.stages, trial.records, strict=True):
        if not stage.steps:
            continue
        incoming = record.details["incoming"]
        ended = (record.metrics["dev_eer"], record.metrics["dev_loss"])
        assert ended <= (incoming["dev_eer"], incoming["dev_loss"])
        assert record.details["incoming_won"] == (record.details["best_step"] == 0)
        assert record.details["incoming_won"] == (ended == (incoming["dev_eer"], incoming["dev_loss"]))
    before, *_ = trial.records
    for stage, record in zip(trial.stages[1:], trial.records[1:], strict=True):
        if stage.steps and method != "truncate":  # which changes the function before it trains
            # Growth leaves the function as it is, up to rounding that may swap two scores.
            assert record.metrics["dev_loss"] <= before.metrics["dev_loss"] + 1e-4 or (
                record.metrics["dev_eer"] < before.metrics["dev_eer"]
            )
        if "dev_eer" in record.metrics:
            before = record


def test_a_harmful_stage_gives_back_the_weights_that_it_got(settings) -> None:
    trial = travelled(make_config(method="baseline", train=LEARNT), settings())
    assert [record.details["incoming_won"] for record in trial.records] == [False, True]
    store = StageStore(settings().store)
    one, two = (store.load(record.key) for record in trial.records)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert trial.records[1].metrics["dev_eer"] == trial.records[0].metrics["dev_eer"]


def test_what_the_stage_before_has_scored_is_not_scored_again(settings, monkeypatch) -> None:
    """`train` begins with a network nobody has scored, `retrain` with grown neurons; `prune` scores what it leaves."""
    scored = []
    evaluate = scoring.evaluate
    monkeypatch.setattr(scoring, "evaluate", lambda *args: scored.append(1) or evaluate(*args))
    # before and after train, after retrain; then, train being shared, before and after retrain, prune, consolidate
    for method, times in (("baseline", 3), ("plasticity", 4)):
        scored.clear()
        travelled(make_config(method=method, train={"steps": 8, "evaluations": 1}), settings())
        assert len(scored) == times


def test_the_report_says_where_the_incoming_state_won(settings) -> None:
    *_, final = run_trial(make_config(method="baseline", train=LEARNT), settings())
    assert [stage["incoming_won"] for stage in final.details["stages"]] == [False, True]


def test_early_stopping_counts_from_the_incoming_state(settings) -> None:
    """An evaluation that does not beat it is one without gain."""
    config = make_config(method="baseline", train=HARMFUL | {"evaluations": 6, "early_stop": 2})
    record = travelled(config, settings()).records[1]
    assert record.details["steps_taken"] == 2
    assert record.details["incoming_won"]
