"""What a configuration has new neurons get, within whole trials; looking at them changes none."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from plastsearch.errors import TrialError
from plastsearch.spec.config import TrialConfig
from plastsearch.store.stages import StageStore
from plastsearch.training import fit
from plastsearch.trial import stages
from plastsearch.trial.methods import check, stages_of
from plastsearch.trial.run import run_trial

sys.path.insert(0, str(Path(__file__).parent))
from conftest import make_config, steady

ALL = {"newborn_lr_ratio": 4.0, "newborn_state": "inherited", "newborn_gate": "learned"}


class KilledError(Exception):
    """What a kill leaves behind: the checkpoint alone."""


def ended(config: TrialConfig, where: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    *_, final = run_trial(config, where)
    return final, StageStore(where.store).load(final.details["model_key"])


@pytest.mark.parametrize("regime", [pytest.param("frozen", marks=pytest.mark.slow), "unfrozen"])
def test_a_trial_is_the_same_to_the_bit_whether_newborns_are_looked_at_or_not(regime, settings, tmp_path, monkeypatch):
    config = make_config(method="plasticity", regime=regime, model={"name": "grnn", "dropout": 0.2}, **ALL)
    looked, weights = ended(config, settings(store=tmp_path / "looked"))
    monkeypatch.setattr(stages, "watcher", lambda *_: None)
    blind, others = ended(config, settings(store=tmp_path / "blind"))
    assert all(torch.equal(weights[name], tensor) for name, tensor in others.items())
    found = steady(looked)
    ratio, share = found.pop("newborn_gradient"), found.pop("newborn_share")
    assert found == steady(blind)
    assert ratio > 0
    assert 0 < share < 1
    (retrain,) = [one for one in looked.details["stages"] if one["stage"] == "retrain"]
    assert [one["step"] for one in retrain["newborns"]] == [0, 2, 3]
    assert next(one["sites"]["gru.1"]["share"] for one in retrain["newborns"]) == 0  # they begin without effect
    assert retrain["newborns"][-1]["sites"] == {"gru.1": {"gradient": ratio, "share": share, "units": 4 / 52}}
    assert retrain["newborn_seconds"] > 0


@pytest.mark.slow
def test_evaluations_report_newborns_on_the_way(settings):
    reports = list(run_trial(make_config(method="dropin"), settings()))
    on_the_way = [one for one in reports if one.stage == "retrain" and not one.details.get("boundary")]
    assert len(on_the_way) == 2
    assert all({"newborn_gradient", "newborn_share"} <= one.metrics.keys() for one in on_the_way)
    assert not any("newborn_share" in one.metrics for one in reports if one.stage == "train")


@pytest.mark.parametrize("change", [pytest.param({}, marks=pytest.mark.slow), ALL], ids=str)
def test_a_frozen_base_stays_what_it_was_to_the_bit(change, settings):
    where = settings()
    final, weights = ended(make_config(method="dropin", **change), where)
    (trained,) = [one["key"] for one in final.details["stages"] if one["stage"] == "train"]
    before = StageStore(where.store).load(trained)
    assert {name for name in before if not name.startswith("head")} <= {name.replace(".base.", ".") for name in weights}
    for name, tensor in weights.items():
        if ".base." in name:
            assert torch.equal(tensor, before[name.replace(".base.", ".")])
    assert final.metrics["params_total"] == final.metrics["params_baseline"] + final.metrics["params_added"]


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["frozen", "unfrozen"])
def test_each_setting_changes_what_is_learnt_but_no_size(regime, settings):
    found, sizes = [], set()
    for change in ({}, {"newborn_lr_ratio": 4.0}, {"newborn_state": "inherited"}, {"newborn_gate": "learned"}):
        final, weights = ended(make_config(method="dropin", regime=regime, **change), settings())
        sizes.add((final.metrics["params_total"], final.metrics["params_final"], tuple(weights)))
        # Not by the weights: where nothing of the stage was better, they are those that came into it.
        found += [one["newborns"][-1]["sites"]["gru.1"] for one in final.details["stages"] if one["stage"] == "retrain"]
    assert len(sizes) == 1
    assert all(one not in found[:number] for number, one in enumerate(found))


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["frozen", "unfrozen"])
def test_a_stopped_trial_goes_on_with_its_gates_and_moments(regime, settings, tmp_path, monkeypatch):
    config = make_config(method="dropin", regime=regime, **ALL)
    _, whole = ended(config, settings(store=tmp_path / "whole"))
    step, where = fit._train_step, settings(store=tmp_path / "parts", checkpoint_s=0)

    def stopping(on: Any, how: Any, optimizer: Any, state: Any) -> None:
        if how.stage == "retrain" and state.step == 3:
            raise KilledError
        step(on, how, optimizer, state)

    monkeypatch.setattr(fit, "_train_step", stopping)
    with pytest.raises(KilledError):
        ended(config, where)
    monkeypatch.setattr(fit, "_train_step", step)
    _, parts = ended(config, where)
    assert all(torch.equal(whole[name], tensor) for name, tensor in parts.items())


def lengths(**train: Any) -> dict[str, int]:
    config = make_config(method="plasticity", train={"steps": 100, **train})
    return {stage.name: stage.steps for stage in stages_of(config, 48) if stage.steps}


def test_growth_comes_when_it_is_asked_to_and_the_total_stays():
    assert lengths() == {"train": 50, "retrain": 25, "consolidate": 25}
    assert lengths(grow_at=0.5) == lengths()
    assert lengths(grow_at=0.2) == {"train": 20, "retrain": 40, "consolidate": 40}
    assert lengths(grow_at=0.8, shares={"train": 9, "retrain": 3, "consolidate": 1}) == {
        "train": 80, "retrain": 15, "consolidate": 5}  # fmt: skip
    with pytest.raises(TrialError, match="grow_at"):
        lengths(grow_at=0.5, shares={"train": 1, "retrain": 0, "consolidate": 0})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"newborn_gate": "learned", "operator": "stack"}, "newborn_gate: learned needs new neurons beside old ones"),
        ({"newborn_state": "inherited", "operator": "parallel"}, "newborn_state: inherited needs new neurons"),
        ({"newborn_gate": "learned", "init": "pairs"}, "use init random, orthogonal or copies"),
    ],
)
def test_what_newborns_cannot_get_is_refused_before_anything_is_trained(change, said):
    with pytest.raises(TrialError, match=said):
        check(make_config(method="dropin", **change))
    check(make_config(method="lora", **{**change, "operator": "widen"}))  # which has no new neurons


@pytest.mark.slow
def test_a_layer_on_top_has_no_old_neurons_to_compare_with(settings):
    final, _ = ended(make_config(method="dropin", operator="stack", newborn_lr_ratio=2.0), settings())
    assert "newborn_share" not in final.metrics
