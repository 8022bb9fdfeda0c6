"""Method adaptive: gradients choose sites during training; the laws of the other methods hold for it."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from plastsearch.models.detector import Detector
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.running import Report, RunSettings
from plastsearch.store.stages import StageStore
from plastsearch.sweep.planned import adapted
from plastsearch.sweep.view import describe
from plastsearch.tracking.records import TrialRecord
from plastsearch.training import fit
from plastsearch.trial.methods import insertions, stages_of
from plastsearch.trial.run import run_trial

sys.path.insert(0, str(Path(__file__).parent))
from conftest import make_config, steady

SITES = ("gru.0", "gru.1", "gru.2")
STEPS = {"train": {"steps": 12, "evaluations": 1}}


def adaptive(**changes: Any) -> TrialConfig:
    return make_config(**{"method": "adaptive", "layers": SITES, "neurons": 4} | STEPS | changes)


def last(config: TrialConfig, settings: RunSettings) -> Report:
    *_, final = run_trial(config, settings)
    return final


def placed(final: Report) -> list[dict[str, int]]:
    return [one["sites"] for one in final.details["growth_plan"]]


class Killed(BaseException):
    """As if the process had gone."""


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["frozen", pytest.param("unfrozen", marks=pytest.mark.slow)])
def test_killed_between_two_insertions_it_ends_as_if_undisturbed(regime, settings, tmp_path, monkeypatch) -> None:
    """In the part behind the first one, before the second of its two steps; and right behind the second insertion."""
    config = adaptive(regime=regime, model={"dropout": 0.1}, adaptive_steps=2, train={"steps": 16, "evaluations": 1})
    assert [stage.steps for stage in stages_of(config, 48)] == [8, 0, 2, 0, 6]
    whole = last(config, settings(store=tmp_path / "whole"))
    weights = StageStore(tmp_path / "whole").load(whole.details["model_key"])
    where = settings(store=tmp_path / "cut", checkpoint_s=0)
    step, taken = fit._train_step, []
    for kill_after in (9, 10):

        def dies(*args: Any, most: int = kill_after) -> None:
            if len(taken) == most:
                raise Killed
            step(*args)
            taken.append(args[3].step)

        monkeypatch.setattr(fit, "_train_step", dies)
        with pytest.raises(Killed):
            list(run_trial(config, where))
    monkeypatch.setattr(fit, "_train_step", lambda *args: (step(*args), taken.append(args[3].step)))
    again = last(config, where)
    assert len(taken) == 16  # each step once
    assert again.details["growth_plan"] == whole.details["growth_plan"]
    assert again.details["model_key"] == whole.details["model_key"]
    kept = StageStore(where.store).load(again.details["model_key"])
    assert kept.keys() == weights.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in weights.items())
    assert {name: steady(again)[name] for name in steady(whole)} == steady(whole)


@pytest.mark.slow
def test_over_several_insertions_the_base_is_kept_and_the_budget_spent(settings, monkeypatch) -> None:
    config = adaptive(layers=("gru.1", "gru.2"))
    where = settings(cache_prefix=True)
    cuts: list[tuple[str, bool]] = []
    suffix = Detector.suffix

    def watched(net: Detector, hidden: torch.Tensor, cut: str, *rest: Any) -> torch.Tensor:
        cuts.append((cut, hidden.requires_grad))
        return suffix(net, hidden, cut, *rest)

    monkeypatch.setattr(Detector, "suffix", watched)
    final = last(config, where)
    # Below the lowest candidate nothing is computed backward; `gru.0`: an insertion is checked from the first block on.
    assert {cut for cut, _ in cuts} == {"gru.0", "gru.1"}
    assert not any(learns for cut, learns in cuts if cut == "gru.1")
    assert sum(sum(one.values()) for one in placed(final)) == 4 * 2  # what dropin at both would spend
    assert all(one["unspent"] == 0 for one in final.details["growth_plan"])
    assert [one["at_step"] for one in final.details["growth_plan"]] == [6, 7, 8]
    assert all(stage["insertion_error"] < 1e-5 for stage in final.details["stages"] if stage["stage"] == "dropin")
    metrics = final.metrics
    assert metrics["params_added"] == metrics["params_final"] - metrics["params_baseline"] > 0
    assert metrics["steps_total"] == 12
    store = StageStore(where.store)
    before = store.load(final.details["stages"][0]["key"])
    # Where blocks stand around it, the base is what lies innermost.
    inner = sorted(store.load(final.details["model_key"]).items(), key=lambda item: item[0].count(".base"))
    after = {name.replace(".base", ""): tensor for name, tensor in inner}
    fixed = [name for name in before if not name.startswith(("head", "pool"))]
    assert fixed
    assert all(torch.equal(before[name], after[name]) for name in fixed)


def test_the_parts_of_retrain_share_one_schedule_and_ease_in() -> None:
    """A later part begins with a new optimiser; past its first steps the rate is that of an unbroken retrain."""

    def settings(steps: int, before: int = 0, whole: int | None = None) -> fit.FitSettings:
        return fit.FitSettings("retrain", steps, 1.0, 0.1, 0.0, 1.0, 1, 1, 0, False, 0, before, whole)

    unbroken = [fit.rate(settings(40), step) for step in range(40)]
    for before, steps in ((0, 7), (7, 6), (13, 27)):
        part = [fit.rate(settings(steps, before, 40), step) for step in range(steps)]
        eased = 3 if before else 0  # 4 steps of warm-up, the fourth at full rate
        assert part[eased:] == unbroken[before + eased : before + steps]
        assert all(0 < one < whole for one, whole in zip(part[:eased], unbroken[before:], strict=False))


@pytest.mark.parametrize(("steps", "wanted", "number"), [(6, 3, 3), (5, 3, 2), (2, 3, 1), (1, 3, 1), (40, 1, 1)])
def test_a_short_retrain_has_room_for_fewer_insertions(steps, wanted, number) -> None:
    assert insertions(steps, wanted) == number


@pytest.mark.parametrize("steps", [12, 37, 200])
def test_insertions_are_in_the_first_half_of_retrain_at_equal_distances(steps) -> None:
    stages = stages_of(adaptive(train={"steps": steps}), 48)
    begins, whole = stages[1].first, steps - stages[1].first
    at = [stage.first - begins for stage in stages if stage.change == "seek"]
    assert at == [whole * k // 6 for k in range(3)]
    assert stages[-1].first - begins < whole / 2
    assert sum(stage.steps for stage in stages) == steps
    assert all(one.first + one.steps == two.first for one, two in pairwise(stages))


def test_ids_of_other_methods_are_what_they_were() -> None:
    """Journals hold them."""
    assert TrialConfig().trial_id() == "b633f74b37c9"
    assert TrialConfig(method="plasticity", layers=("gru.1",), neurons=4).trial_id() == "5a4bd637709d"
    ids = {adaptive(adaptive_steps=n, adaptive_score=s).trial_id() for n in (2, 3) for s in ("gradient", "natural")}
    assert len(ids) == 4


def test_a_sweep_says_where_the_neurons_may_go_and_where_they_went() -> None:
    config = adaptive().model_dump(mode="json", by_alias=True)
    record = TrialRecord(0, "x", "search", None, {}, config)
    assert describe(record) == "adaptive 12 neurons among gru.0, gru.1, gru.2 frozen"
    record.details = {"growth_plan": [{"sites": {"gru.2": 4}}, {"sites": {"gru.1": 1, "gru.2": 3}}, {"sites": {}}]}
    assert describe(record) == "adaptive gru.1+1, gru.2+7 of 3 sites frozen"


def test_adapters_as_a_control_stand_where_the_winner_s_plan_put_neurons() -> None:
    control = adapted(adaptive(), "lora", {"gru.1": 5, "gru.2": 7})
    assert (control.control, control.config.method) == ("lora", "lora")
    assert control.config.growth() == {"gru.1": 5, "gru.2": 7}
    assert adapted(adaptive(), "lora").config.growth() == dict.fromkeys(SITES, 4)


@pytest.mark.slow
def test_a_share_smaller_than_any_unit_waits_for_the_next_insertion(settings) -> None:
    """Heads of 12 neurons: of a budget of 24 the first third buys none."""
    config = adaptive(model={"name": "wav2vec2"}, layers=("encoder.1.attention", "encoder.2.attention"), neurons=12)
    plan = last(config, settings()).details["growth_plan"]
    assert [sum(one["sites"].values()) for one in plan] == [0, 12, 12]
    assert [one["unspent"] for one in plan] == [8, 4, 0]
