"""Who is compared with whom: allowed trials, controls that name them, scores that are theirs, seed by seed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from plastsearch.analysis.results import load_results
from plastsearch.report.sections import report
from plastsearch.report.verdict import verdict
from plastsearch.scores.clip_scores import read_clip_scores
from tests.made_sweep import CLIPS, SPEC, make_sweep


def edit(folder, change):
    """The journal with every event passed through a function that may change it."""
    path = folder / "trials.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for event in events:
        change(event)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return load_results(folder)


@pytest.fixture
def sweep(tmp_path):
    """A sweep of one's own, to be changed."""
    return make_sweep(tmp_path / "runs" / "w2v_layers", search=6)


def of(results, control, split="search_dev", runs="trials"):
    return next(o for o in results.comparisons if (o.control, o.split, o.runs) == (control, split, runs))


def test_every_control_is_compared_and_each_split_is_corrected_apart(results):
    asked = [(one.control, one.runs, one.split) for one in results.comparisons]
    assert asked == [
        ("baseline", "trials", "search_dev"), ("lora", "trials", "search_dev"), ("random", "trials", "search_dev"),
        ("baseline", "finalists", "search_dev"), ("baseline", "finalists", "evaluation"),
    ]  # fmt: skip
    assert [one.family for one in results.comparisons] == [4, 4, 4, 4, 1]
    assert all(one.answer.p <= one.p_corrected <= 1 for one in results.comparisons)
    last = results.comparisons[-1]
    assert last.p_corrected == last.answer.p


def test_the_difference_is_that_of_the_recorded_error_rates(results):
    for one in results.comparisons[:3]:
        mine = next(row for row in results.rows if row.number == one.subject).metrics["dev_eer"]
        its = results.control(one.control, of=one.subject).metrics["dev_eer"]
        assert (one.answer.one, one.answer.other) == pytest.approx((mine, its))
        assert one.answer.points == pytest.approx(mine - its)


def test_only_allowed_trials_are_judged(sweep):
    plain = load_results(sweep)
    best = plain.winner

    def change(event):
        if event["event"] == "sweep":
            event["spec"] = SPEC | {"constraints": ["turnover <= 0.75"]}
        if event["event"] == "end" and event["trial"] == best.number:
            event["metrics"]["turnover"] = 0.8

    results = edit(sweep, change)
    assert best.metrics["dev_eer"] < results.winner.metrics["dev_eer"]
    assert {one.subject for one in results.comparisons if one.runs == "trials"} == {results.winner.number}
    assert not any(best.label in one.split(" ") for one in verdict(results))
    none = edit(sweep, lambda e: e.update(spec=SPEC | {"constraints": ["turnover <= 0.1"]}) if "spec" in e else None)
    assert verdict(none) == ["No trial that grows a network keeps within the constraints, so nothing can be said about "
                             "growth."]  # fmt: skip


def test_controls_of_another_trial_are_not_asked(sweep):
    best = load_results(sweep).winner.number

    def change(event):
        if event["event"] == "propose" and event["control"] in ("lora", "random"):
            event["of"] = best if event["control"] == "lora" else best + 1

    results = edit(sweep, change)
    assert of(results, "lora").answer is not None
    assert of(results, "random").missing == f"no run of that control of trial {best} has finished"
    labels = {row.record.control: row.label for row in results.controls}
    assert labels["random"] == f"random sites (of trial {best + 1})"
    assert labels["lora"] == "LoRA, same sites"


def test_scores_that_are_gone_are_said_to_be_gone(sweep):
    path = sweep / "kept" / "scores" / f"{0:024d}.search_dev.tsv"
    path.unlink()
    results = load_results(sweep)
    found = of(results, "baseline")
    assert found.answer is None
    assert found.missing == f"the scores of baseline (no growth) are gone ({path})"
    assert "cannot be compared with the equal-budget baseline (no growth) on dev EER: the sco" in verdict(results)[0]
    assert of(results, "lora").family == 3  # what has no answer asks no question
    assert report(results)


def test_a_store_that_was_moved_with_its_sweeps_is_found(sweep):
    shutil.move(sweep / "kept" / "scores", sweep.parent / "store" / "scores")
    assert of(load_results(sweep), "baseline").answer is not None


def test_older_sweeps_kept_none(sweep):
    def change(event):
        if event["event"] == "end":
            event["details"].pop("scores")

    results = edit(sweep, change)
    assert of(results, "baseline").missing == f"{results.winner.label} kept no scores of single clips"


def test_scores_of_another_network_are_noticed(sweep):
    own, other = (sweep / "kept" / "scores" / f"{n:024d}.search_dev.tsv" for n in (0, 1))
    shutil.copy(other, own)
    assert of(load_results(sweep), "baseline").missing.startswith(f"the scores in {own.name} are not those of baseline")


def test_other_clips_are_not_compared(sweep):
    path = sweep / "kept" / "scores" / f"{0:024d}.search_dev.tsv"
    path.write_text(path.read_text().replace("C_1_0007\t", "C_9_0007\t"))
    assert of(load_results(sweep), "baseline").missing == "the two were not scored on the same clips"


def test_the_order_of_clips_does_not_matter(sweep):
    before = of(load_results(sweep), "baseline")
    path = sweep / "kept" / "scores" / f"{0:024d}.search_dev.tsv"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(lines)]) + "\n")
    assert of(load_results(sweep), "baseline") == before


def test_failed_seeds_are_no_seeds(tmp_path):
    folder = make_sweep(tmp_path / "w2v_layers", search=6, seeds=(1, 2, 3))
    whole = load_results(folder)
    best = whole.winner.number
    runs = next(one for one in whole.finalists if one.of == best).rows
    assert of(whole, "baseline", "evaluation", "finalists").answer.seeds == 3

    def change(event):
        if event["event"] == "end" and event["trial"] == runs[1].number:
            event.update(state="failed", metrics={}, reason="lost")

    results = edit(folder, change)
    found = of(results, "baseline", "evaluation", "finalists")
    assert (found.answer.seeds, found.asked) == (2, 3)
    assert "(2 of 3 seeds, 576 clips of 24 speakers)" in verdict(results)[-1]
    other = next(one for one in results.finalists if results.control("baseline").number == one.of)
    kept = [row for row in other.rows if row.config.seed != runs[1].config.seed]
    expected = np.mean([row.metrics["eval_eer"] for row in kept])
    assert found.answer.other == pytest.approx(expected)  # the baseline's run of that seed is left out, too


def test_without_finalists_of_the_baseline_there_is_no_evaluation_verdict(results):
    lone = replace(results, finalists=results.finalists[:-1])
    assert of(lone, "baseline", "evaluation", "finalists").missing.startswith("that control was not run again")
    assert not any(one.runs == "finalists" for one in replace(results, finalists=()).comparisons)


def test_made_scores_are_what_the_tests_say(sweep):
    found = read_clip_scores(sweep / "kept" / "scores" / f"{0:024d}.search_dev.tsv")
    assert list(found.ids) == CLIPS["search_dev"].ids
