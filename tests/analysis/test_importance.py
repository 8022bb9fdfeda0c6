"""Importances: a planted parameter is found, a dummy weighs nothing, and what cannot be known is said."""

import json
import sys
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator

from plastsearch.analysis import importance, importance_methods
from plastsearch.analysis.importance import Aim, Column, Importances, Request, importance_blocks, importance_csv
from plastsearch.analysis.importance_methods import importances
from plastsearch.analysis.results import load_results
from plastsearch.analysis.why_figure import dots
from plastsearch.report.publish import publish
from tests.made_sweep import make_sweep

METRICS = ("dev_eer", "dev_auc")


def request(trials=240, noise=0.3, **more):
    """Sites and settings of which two matter: `encoder.1` and, for the second objective the other way, `neurons`."""
    rng = np.random.default_rng(5)
    sites = {f"encoder.{n}": rng.random(trials) < 0.5 for n in range(4)}
    neurons, criterion = rng.integers(1, 9, trials) * 16, rng.choice(["taylor", "random"], trials)
    rank = [int(n) if n % 3 else None for n in rng.integers(1, 9, trials)]  # half of the trials do not have it
    columns = [Column(name=name, values=tuple(map(bool, on)), group="layers") for name, on in sites.items()]
    columns.append(Column(name="neurons", values=tuple(map(int, neurons)), log=True))
    columns.append(Column(name="criterion", values=tuple(map(str, criterion))))
    columns.append(Column(name="rank", values=tuple(rank)))
    eer = 20 - 4.0 * sites["encoder.1"] + noise * rng.normal(size=trials)
    auc = 0.05 * neurons + noise * rng.normal(size=trials)
    aims = (
        Aim(metric="dev_eer", goal="min", values=tuple(map(float, eer))),
        Aim(metric="dev_auc", goal="max", values=tuple(map(float, auc))),
    )
    return Request(columns=tuple(columns), aims=aims, **{"resamples": 20, "forests": 3, "trees": 50, **more})


@pytest.fixture(scope="module")
def found():
    return importances(request())


@pytest.mark.parametrize(("objective", "planted"), [(0, "encoder.1"), (1, "neurons")])
def test_the_planted_parameter_weighs_most_and_dummies_nothing(found, objective, planted):
    one = found.objectives[objective]
    weights = {weight.name: weight for weight in one.weights}
    assert weights[planted].ped > 3 * weights[planted].ped_chance
    assert weights[planted].ped == max(weight.ped for weight in one.weights)
    assert weights[planted].forest > 0.8
    for name in weights.keys() - {planted}:
        # PED-ANOVA gives every number a share, however little it does: chance says how much that is.
        assert weights[name].ped < 1.2 * weights[name].ped_chance, name
        assert abs(weights[name].forest) < 0.02, name
    assert one.agreement is not None
    assert one.agreement > 0.5
    assert one.r2 > 0.8


def test_intervals_hold_their_value_and_sites_are_summed(found):
    for one in found.objectives:
        assert one.r2_low <= one.r2 <= one.r2_high
        for weight in (*one.weights, *one.sums):
            assert weight.ped_low <= weight.ped <= weight.ped_high
            assert weight.forest_low <= weight.forest <= weight.forest_high
        (total,) = one.sums
        sites = [weight for weight in one.weights if weight.group == "layers"]
        assert total.name == "layers"
        assert total.ped == pytest.approx(sum(weight.ped for weight in sites))
        assert total.forest == pytest.approx(sum(weight.forest for weight in sites))
        assert sum(weight.ped for weight in one.weights) == pytest.approx(1.0)


def test_equal_seeds_give_equal_numbers_and_others_differ():
    small = request(trials=20, trees=10, resamples=4)
    found = importances(small)
    assert importances(small) == found
    assert importances(small.model_copy(update={"seed": 1})).objectives[0].r2 != found.objectives[0].r2


def test_pure_noise_teaches_nothing_and_that_is_said():
    rng = np.random.default_rng(2)
    asked = request(trials=24)
    noise = Aim(metric="dev_eer", goal="min", values=tuple(rng.normal(size=24)))
    one = importances(asked.model_copy(update={"aims": (noise,)})).objectives[0]
    assert one.r2 <= 0
    assert any("nothing can be learnt from these trials" in text for text in importance.verdicts(one))
    assert "nothing learnt" in dots(one)[1].title


def test_trials_that_are_all_alike_are_no_division_by_zero():
    asked = request(trials=12, trees=5)
    same = Aim(metric="dev_eer", goal="min", values=(20.0,) * 12)
    one = importances(asked.model_copy(update={"aims": (same,)})).objectives[0]
    assert one.r2 == 0.0
    assert {weight.forest for weight in one.weights} == {0.0}


def test_methods_at_odds_are_named():
    one = importances(request(trials=20, trees=10, resamples=4)).objectives[0]
    assert any("they share 10 % of the weight" in text for text in importance.verdicts(one.model_copy(
        update={"agreement": 0.1, "r2": 0.5})))  # fmt: skip


def test_a_table_has_a_line_for_each_parameter_and_sum(found):
    lines = importance_csv(found).splitlines()
    assert len(lines) == 1 + 2 * (7 + 1)
    assert lines[1].startswith("dev_eer,encoder.0,layers,False,")


def test_few_trials_are_said_to_be_few_and_fewer_are_not_weighed(tmp_path):
    few = load_results(make_sweep(tmp_path / "few", search=20))
    asked = importance.request_of(few)
    assert asked is not None
    names = [column.name for column in asked.columns]
    assert names[-3:] == ["neurons", "criterion", "regime"]
    assert names[:2] == ["encoder.0.ffn", "encoder.1.ffn"]
    found = Importances(key=asked.key, trials=20, quantile=0.25, forests=3, resamples=5, objectives=())
    assert "20 trials are few" in str(importance_blocks(found, few))
    fewer = load_results(make_sweep(tmp_path / "fewer", search=6))
    assert importance.request_of(fewer) is None
    importance.refresh(fewer)  # starts nothing
    assert "6 finished trials tell nothing" in str(importance_blocks(None, fewer))
    assert importance.DATA not in publish(fewer)


def test_of_many_trials_some_are_drawn_by_a_seed_and_that_is_said(tmp_path, monkeypatch):
    results = load_results(make_sweep(tmp_path / "many", search=40))
    whole = importance.request_of(results)
    monkeypatch.setattr(importance, "MOST", 12)
    asked = importance.request_of(results)
    assert asked == importance.request_of(results)
    assert (whole.trials, whole.known, whole.drawn_from) == (40, 40, None)
    assert (asked.trials, asked.known, asked.drawn_from) == (12, 40, 40)
    drawn = set(zip(*(aim.values for aim in asked.aims), strict=True))
    assert len(drawn) == 12
    assert drawn < set(zip(*(aim.values for aim in whole.aims), strict=True))
    found = importances(asked.model_copy(update={"forests": 1, "trees": 5, "resamples": 2}))
    assert "From 12 trials that were drawn out of 40 (seed 0)" in str(importance_blocks(found, results))
    importance.save(results, found)
    more = replace(load_results(make_sweep(tmp_path / "many", search=44)), status="running")
    assert importance.wanted(more) is None  # a tenth more, though 44 are far more than the 12 that were drawn


def test_trials_are_weighed_as_those_of_a_study_are():
    asked = request(trials=60)
    study = optuna.create_study()
    ours = importance_methods._study(asked.columns, asked.aims[0])
    for trial in ours.trials:
        study.add_trial(
            optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=trial.value)
        )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
    theirs = evaluator.evaluate(study)
    assert evaluator.evaluate(ours, list(theirs)) == theirs
    assert max(theirs.values()) > 0


@pytest.mark.slow
def test_what_was_worked_out_is_kept_until_trials_are_added(tmp_path):
    results = load_results(make_sweep(tmp_path / "w2v_layers", search=14))
    importance.refresh(results)
    kept = importance.load(results)
    assert kept is not None
    assert kept.trials == 14
    assert importance.wanted(results) is None
    files = publish(results)
    assert files["importance.png"].read_bytes().startswith(b"\x89PNG")
    assert "PED-ANOVA" in files["report.md"].read_text()
    assert json.loads(files["importance.json"].read_text())["trials"] == 14
    more = load_results(make_sweep(tmp_path / "w2v_layers", search=16))
    assert importance.wanted(more) is not None
    assert importance.wanted(replace(more, status="running")) is None  # two more are not worth the seconds
    assert "sklearn" in sys.modules  # by these tests themselves; the driver's process never has it: see test_start_up


def test_an_old_file_that_cannot_be_read_is_made_anew(tmp_path):
    results = load_results(make_sweep(tmp_path / "w2v_layers", search=14))
    (results.folder / "report").mkdir()
    (results.folder / "report" / importance.DATA).write_text('{"trials": "many"}')
    assert importance.load(results) is None
    assert importance.wanted(results) is not None


def test_a_failure_is_told_and_takes_nothing_else_along(tmp_path, monkeypatch):
    results = load_results(make_sweep(tmp_path / "w2v_layers", search=14))
    monkeypatch.setattr(importance, "MODULE", "plastsearch.no_such_module")
    assert "importances could not be worked out" in str(importance.refresh(results))
    assert not (results.folder / "report" / importance.DATA).exists()
