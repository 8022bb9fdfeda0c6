"""A merged sweep is read as any sweep; no run is lost, none counts twice, and each says where it came from."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from plastsearch.analysis.columns import columns
from plastsearch.analysis.results import load_results
from plastsearch.errors import PlastsearchError
from plastsearch.joining.joined import join, joined
from plastsearch.joining.merging import merge
from plastsearch.joining.sweeps import Sweep, parts_of
from plastsearch.spec.config import TrialConfig
from plastsearch.spec.sweep import SweepSpec
from plastsearch.sweep.folder import open_folder
from plastsearch.tracking.journal import Journal, read
from tests.made_sweep import WRITTEN, make_sweep


def changed(folder, change):
    """The journal with every event changed in place."""
    path = folder / "trials.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for event in events:
        change(event)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def with_seed(by):
    def change(event):
        if event["event"] == "propose":
            event["config"]["seed"] += by
            event["id"] = TrialConfig.model_validate(event["config"]).trial_id()
            if "seed" in event:
                event["seed"] += by

    return change


def with_data(**data):
    def change(event):
        if event["event"] == "propose":
            event["config"]["data"] |= data
            event["id"] = TrialConfig.model_validate(event["config"]).trial_id()
        if event["event"] == "sweep":
            event["spec"]["base"]["data"] |= data

    return change


@pytest.fixture
def two(tmp_path):
    """The same search with seeds 0 and, on another machine, 10."""
    other = changed(make_sweep(tmp_path / "two", search=6, seeds=(1,)), with_seed(10))
    return make_sweep(tmp_path / "one", search=6, seeds=(1,)), other


def lines_of(folder, kind):
    return [event for event in map(json.loads, (folder / "trials.jsonl").read_text().splitlines())
            if event["event"] == kind]  # fmt: skip


def test_every_run_of_every_sweep_is_there_with_its_source(two, tmp_path):
    found = merge(two, tmp_path / "m")
    proposed = lines_of(tmp_path / "m", "propose")
    assert found.trials == len(proposed) == sum(len(lines_of(one, "propose")) for one in two)
    sources = Counter((one["source"]["sweep"], one["source"]["trial"]) for one in proposed)
    assert sources == Counter((one.name, event["trial"]) for one in two for event in lines_of(one, "propose"))
    for kind in ("start", "report", "retry", "end"):
        assert len(lines_of(tmp_path / "m", kind)) == sum(len(lines_of(one, kind)) for one in two)


def test_the_same_configuration_with_another_seed_is_a_further_run(two, tmp_path):
    found = merge(two, tmp_path / "m")
    results = load_results(tmp_path / "m")
    one, other = (load_results(folder) for folder in two)
    assert found.further_seeds == sum(row.record.state == "done" for row in other.rows)
    assert len(results.plotted) == len(one.plotted)
    for row in results.plotted:
        assert [run.config.seed for run in row.runs] == [0, 10]
        was, again = one.rows[row.number], other.rows[row.number]
        assert [run.metrics for run in row.runs] == [was.metrics, again.metrics]
        assert row.values[0] == pytest.approx((was.metrics["dev_eer"] + again.metrics["dev_eer"]) / 2)
    assert {f.of: len(f.rows) for f in results.finalists} == {f.of: 2 for f in one.finalists}
    assert results.status == "done"
    assert results.seconds == one.seconds + other.seconds


def test_the_very_same_run_counts_once(tmp_path):
    one, other = make_sweep(tmp_path / "one", search=6), make_sweep(tmp_path / "other", search=6)
    found = merge([one, other], tmp_path / "m")
    results, alone = load_results(tmp_path / "m"), load_results(one)
    done = sum(row.record.state == "done" for row in alone.every)
    assert found.again == done
    assert [row.values for row in results.plotted] == [row.values for row in alone.plotted]
    assert [row.number for row in results.front] == [row.number for row in alone.front]
    assert len(results.every) == 2 * len(alone.every)
    assert results.noise("dev_eer") == alone.noise("dev_eer")  # a copy is no second seed
    assert found.notes == []


def test_that_the_same_runs_differ_is_said(tmp_path):
    def worse(event):
        if event["event"] == "end" and "dev_eer" in event["metrics"]:
            event["metrics"]["dev_eer"] += 0.25

    one, other = make_sweep(tmp_path / "one", search=6), changed(make_sweep(tmp_path / "other", search=6), worse)
    (note,) = merge([one, other], tmp_path / "m").notes
    assert "differ by up to 0.25 points of dev EER" in note


def test_other_clips_stand_apart(tmp_path):
    one = make_sweep(tmp_path / "one", search=6)
    other = changed(make_sweep(tmp_path / "other", seed=3, search=6), with_data(corpus="in_the_wild"))
    found = merge([one, other], tmp_path / "m")
    results, alone = load_results(tmp_path / "m"), load_results(one)
    assert found.apart == len(results.apart) == len(load_results(other).every)
    assert [row.values for row in results.plotted] == [row.values for row in alone.plotted]
    assert (results.gain, results.noise("dev_eer")) == (alone.gain, alone.noise("dev_eer"))
    assert len(results.every) == len(alone.every) + len(results.apart)


@pytest.mark.slow
def test_where_clips_lie_does_not_make_them_others(tmp_path):
    one = changed(make_sweep(tmp_path / "one", search=6), with_data(root="/here"))
    other = changed(make_sweep(tmp_path / "other", search=6), with_data(root="/there"))
    found = merge([one, other], tmp_path / "m")
    assert found.apart == 0
    assert found.again > 0


def test_a_merged_sweep_comes_apart_as_it_was(two, tmp_path):
    merge(two, tmp_path / "m")
    sweep = Sweep(tmp_path / "m", "m", tuple(read(tmp_path / "m")))
    for part, folder in zip(parts_of(sweep), two, strict=True):
        was = load_results(folder)
        assert [row.record.state for row in part.results.rows] == [row.record.state for row in was.rows]
        assert [row.values for row in part.results.plotted] == [row.values for row in was.plotted]
        assert [(f.of, len(f.rows)) for f in part.results.finalists] == [(f.of, len(f.rows)) for f in was.finalists]
        assert (part.status, part.seconds) == (was.status, was.seconds)
    apart, together = joined([sweep]), join(two)
    assert [line.less for line in apart.methods] == [line.less for line in together.methods]


def test_naming_a_sweep_twice_counts_once_and_says_so(two, tmp_path):
    copy = tmp_path / "copy" / "one"
    shutil.copytree(two[0], copy)
    found = merge([two[0], two[1], copy], tmp_path / "m")
    assert found.trials == sum(len(lines_of(one, "propose")) for one in two)
    assert [f"{copy} is the same sweep as {two[0]}" in note for note in found.notes] == [True]
    more = merge([tmp_path / "m", two[0], make_sweep(tmp_path / "three", seed=9, search=4)], tmp_path / "n")
    assert any(f"{two[0]} is the same sweep as {tmp_path / 'm'}, or a part of it" in note for note in more.notes)
    with pytest.raises(PlastsearchError, match="nothing to merge: it takes two different sweeps"):
        merge([two[0], copy], tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda spec: spec["objectives"].pop(), "other metrics"),
        (lambda spec: spec["space"]["neurons"].update(high=64), r"another space \(space.neurons.high\)"),
        (lambda spec: spec["base"]["model"].update(preset="small"), r"another setup \(base.model.preset\)"),
        (lambda spec: spec.update(constraints=["params_total <= 1.05 * baseline"]), "other constraints"),
    ],
)
def test_sweeps_that_ask_something_else_are_refused_by_name(two, tmp_path, change, words):
    changed(two[1], lambda event: change(event["spec"]) if event["event"] == "sweep" else None)
    with pytest.raises(PlastsearchError, match=f"{two[1]} asks something else than {two[0]}: {words}"):
        merge(two, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_running_sweep_is_refused(two, tmp_path):
    with Journal(two[1]), pytest.raises(PlastsearchError, match="still running; merge it when it has ended"):
        merge(two, tmp_path / "m")


def test_a_folder_that_is_not_empty_is_left_alone(two, tmp_path):
    with pytest.raises(PlastsearchError, match="exists and is not empty"):
        merge(two, two[0])


def test_scores_are_found_where_they_lie_now(two, tmp_path):
    def moved(event):
        for split, path in (event.get("details") or {}).get("scores", {}).items():
            event["details"]["scores"][split] = f"/elsewhere/scores/{Path(path).name}"

    (tmp_path / "store").mkdir()
    (two[1] / "kept" / "scores").rename(tmp_path / "store" / "scores")
    changed(two[1], moved)
    merge(two, tmp_path / "far" / "m")
    results = load_results(tmp_path / "far" / "m")
    assert all(one.answer is not None for one in results.comparisons if one.control == "baseline")


def test_the_table_names_the_source(two, tmp_path):
    merge(two, tmp_path / "m")
    found = {one.name: one.values for one in columns(load_results(tmp_path / "m"))}
    assert set(found["source"]) == {f"{one.name}:{event['trial']}" for one in two for event in lines_of(one, "propose")}


def test_a_merged_sweep_is_not_gone_on_with(two, tmp_path):
    merge(two, tmp_path / "m")
    with pytest.raises(PlastsearchError, match="merged from 2 sweeps, and a sweep cannot go on from several"):
        open_folder(tmp_path, "m", SweepSpec.model_validate(WRITTEN), [], resume=True, command="")
