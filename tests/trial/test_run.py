"""Trials end to end on tiny networks: every method, sharing, determinism, what is read."""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from plastsearch.data import corpus
from plastsearch.data.clips import ClipSet
from plastsearch.data.corpus import verifier_scores
from plastsearch.errors import EvaluationClosedError, PlastsearchError, StageBusyError
from plastsearch.spec.methods import METHODS
from plastsearch.spec.running import Report
from plastsearch.store.stages import StageStore
from plastsearch.training import fit
from plastsearch.trial import scoring
from plastsearch.trial.run import run_trial

sys.path.insert(0, str(Path(__file__).parent))
from conftest import AS_TRAINED, ELSEWHERE, SITES, alike, make_config, steady

FINAL = {
    "dev_eer", "dev_eer_low", "dev_eer_high", "dev_min_dcf", "dev_act_dcf", "dev_cllr", "dev_eer_baseline",
    "forward_ms", "backward_ms", "optimizer_ms", "backward_ratio", "backward_cv", "backward_gflop", "params_total",
    "params_final", "params_trainable", "params_added", "params_baseline", "peak_memory_mb", "train_loss",
    "steps_total", "seconds", "reused_seconds", "waited_seconds", "bad_clips",
}  # fmt: skip


def last(reports: Any) -> Report:
    *_, final = reports
    return final


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_takes_the_whole_budget_and_reports_every_metric(method, settings, monkeypatch) -> None:
    counted = []
    step = fit._train_step
    monkeypatch.setattr(fit, "_train_step", lambda *args: (counted.append(1), step(*args)))
    final = last(
        run_trial(make_config(method=method, last_k=1, truncate_to=2, **ELSEWHERE.get(method, {})), settings())
    )
    assert final.final
    assert len(counted) == 12 == final.metrics["steps_total"]
    assert set(final.metrics) >= FINAL
    assert ("dev_eer_pruned" in final.metrics) == (method == "plasticity")


@pytest.mark.parametrize("name", sorted(SITES))
@pytest.mark.parametrize("regime", ["frozen", "unfrozen"])
def test_plasticity_ends_at_the_original_size(name, regime, settings) -> None:
    config = make_config(model={"name": name}, layers=(SITES[name],), method="plasticity", regime=regime,
                         train={"steps": 6, "evaluations": 1})  # fmt: skip
    final = last(run_trial(config, settings()))
    metrics = final.metrics
    assert metrics["params_final"] == metrics["params_baseline"] < metrics["params_total"]
    assert metrics["params_added"] == metrics["params_total"] - metrics["params_baseline"]
    assert (metrics["params_trainable"] < metrics["params_baseline"]) == (regime == "frozen")
    grown = next(stage for stage in final.details["stages"] if stage["stage"] == "dropin")
    assert grown["insertion_error"] < 1e-5


def test_a_cold_start_skips_train(settings) -> None:
    reports = list(run_trial(make_config(start="cold", method="dropin"), settings()))
    assert "train" not in {report.stage for report in reports}
    assert reports[-1].metrics["steps_total"] == 12
    data = reports[-1].details["data"]  # which clips it read, for trackers; never those of the evaluation split
    assert data.keys() == {"train", "search_dev"}
    assert len({one["digest"] for one in data.values()}) == 2
    assert all(one["clips"] > 0 and one["hours"] > 0 for one in data.values())
    assert "dev_eer_baseline" not in reports[-1].metrics


def test_a_second_trial_reuses_the_baseline_and_says_what_it_saved(settings) -> None:
    first = last(run_trial(make_config(method="baseline"), settings()))
    second = last(run_trial(make_config(method="dropin"), settings()))
    assert first.metrics["reused_seconds"] == 0
    assert second.metrics["reused_seconds"] > 0
    assert [stage["from"] for stage in second.details["stages"]] == ["reused", "computed", "computed"]


def test_criteria_share_everything_up_to_prune(settings) -> None:
    last(run_trial(make_config(method="plasticity", criterion="taylor"), settings()))
    other = last(run_trial(make_config(method="plasticity", criterion="random"), settings()))
    assert [stage["from"] for stage in other.details["stages"]] == ["reused"] * 3 + ["computed"] * 2


@pytest.mark.parametrize(
    "change",
    [{"share_stages": False}, pytest.param({"loader_workers": 2}, marks=pytest.mark.slow), {"cache_prefix": True}],
)
def test_settings_change_no_result(change, settings, tmp_path) -> None:
    config = make_config(method="plasticity")
    plain = last(run_trial(config, settings()))
    other = last(run_trial(config, settings(store=tmp_path / "other", **change)))
    alike(steady(other), steady(plain))


def test_the_same_configuration_gives_the_same_numbers_and_weights(settings, tmp_path) -> None:
    config = make_config(method="dropin", regime="unfrozen")
    finals = [last(run_trial(config, settings(store=tmp_path / name))) for name in ("a", "b")]
    alike(steady(finals[0]), steady(finals[1]))
    key = finals[0].details["model_key"]
    one, two = (StageStore(tmp_path / name).load(key) for name in ("a", "b"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=0, atol=AS_TRAINED)
    other = last(run_trial(make_config(method="dropin", regime="unfrozen", seed=1), settings()))
    assert abs(other.metrics["train_loss"] / finals[0].metrics["train_loss"] - 1) > 1e-3


def test_a_damaged_stage_is_computed_again(settings) -> None:
    config = make_config(method="dropin")
    first = last(run_trial(config, settings()))
    store = StageStore(settings().store)
    path = store.folder(first.details["stages"][0]["key"]) / "weights.safetensors"  # later ones may hold no tensors
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    again = last(run_trial(config, settings()))
    assert "checksum" in again.details["warnings"][0]
    alike(steady(again), steady(first))


def test_a_stage_another_process_holds_is_deferred(settings) -> None:
    config = make_config(method="dropin")
    key = last(run_trial(config, settings())).details["stages"][0]["key"]
    store = StageStore(settings().store)
    store.discard(key)
    lease = store.lease(key)
    assert lease.acquire()
    with pytest.raises(StageBusyError):
        list(run_trial(config, settings(defer_busy=True)))
    lease.release()


def test_a_trial_reads_train_and_search_dev_and_nothing_else(settings, monkeypatch) -> None:
    opened = []
    make = ClipSet.__init__
    monkeypatch.setattr(ClipSet, "__init__", lambda self, *args: (opened.append(args[0]), make(self, *args))[1])
    scored = []
    waves = scoring.waves
    monkeypatch.setattr(scoring, "waves", lambda clips, *args: scored.append(clips.split) or waves(clips, *args))
    last(run_trial(make_config(method="plasticity"), settings()))
    assert set(opened) == {"train", "dev"}
    assert set(scored) == {"train", "dev"}


def test_the_evaluation_split_is_closed_to_a_trial(settings, cache) -> None:
    from plastsearch.data.evaluation import EvaluationKey

    with pytest.raises(EvaluationClosedError, match="finalists step"):
        EvaluationKey()
    with pytest.raises(EvaluationClosedError):
        corpus.open_evaluation(make_config().data, cache, None)
    with pytest.raises(EvaluationClosedError):
        verifier_scores(make_config().data, cache, None)


def test_a_finalist_is_scored_once_on_the_evaluation_split(settings) -> None:
    from plastsearch.trial.finalist import run_finalist

    final = last(run_finalist(make_config(method="dropin"), settings()))
    rows = [line.split() for line in Path(final.details["score_file"]).read_text().splitlines()]
    assert {"eval_eer", "eval_eer_low", "eval_eer_high", "eval_min_dcf", "eval_min_tdcf"} <= set(final.metrics)
    assert 0 < final.metrics["eval_min_tdcf"] <= 1
    assert len(rows) == final.details["eval_clips"]
    assert {row[2] for row in rows} == {"bonafide", "spoof"}
    assert len({row[3] for row in rows}) > 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": ("gru.9",)}, r"no site 'gru\.9' in grnn; its sites: gru\.0, gru\.1, gru\.2"),
        ({"layers": ()}, "method plasticity adds neurons, but no site has any"),
        ({"operator": "stack"}, "cannot be folded into its own"),
        ({"operator": "parallel"}, "cannot be folded into its own"),
        ({"train": {"steps": 3, "shares": {"train": 1, "retrain": 0, "consolidate": 1}}}, "leave none for retrain"),
        ({"data": {"corpus": "asvspoof2019_la", "root": "/nowhere/LA"}}, "/nowhere/LA"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(change, words, settings) -> None:
    with pytest.raises(PlastsearchError, match=words):
        list(run_trial(make_config(**{"method": "plasticity"} | change), settings()))
    assert not (settings().store / "stages").exists()


def _in_a_process(config: Any, settings: Any, barrier: Any, ends: Any) -> None:
    barrier.wait()
    final = last(run_trial(config, settings))
    ends.put((final.metrics["waited_seconds"], final.details["stages"][0]["from"], steady(final)))


def test_of_two_trials_at_once_one_trains_and_the_other_waits(settings) -> None:
    context = multiprocessing.get_context("fork")
    barrier, ends = context.Barrier(2), context.SimpleQueue()
    configs = [make_config(method=method) for method in ("dropin", "baseline")]
    processes = [context.Process(target=_in_a_process, args=(c, settings(), barrier, ends)) for c in configs]
    for process in processes:
        process.start()
    found = sorted((ends.get() for _ in processes), key=lambda end: end[0])
    for process in processes:
        process.join(60)
    assert [origin for _, origin, _ in found] == ["computed", "reused"]
    assert found[1][0] > 0 == found[0][0]
