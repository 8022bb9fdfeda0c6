"""The page's data is the report's: same numbers, same front, same winner; and nothing selects by evaluation scores."""

import json
import shlex

import pytest

from plastsearch.analysis.results import Results, load_results
from plastsearch.choose.data import page_data
from plastsearch.choose.growth import Ring, grown_rings, grown_sites, growth
from plastsearch.report.publish import caption, publish, report_json
from plastsearch.report.verdict import verdict
from plastsearch.spec.constraints import METRICS
from tests.choose.conftest import data_of, page_of, ringed_
from tests.made_sweep import make_sweep


@pytest.fixture(scope="module")
def said(results: Results):
    return data_of(page_of(results))


@pytest.fixture(scope="module")
def reported(results: Results):
    return json.loads(json.dumps(report_json(results)))


def column(said, key):
    return next(one for one in said["columns"] if one["key"] == key)


def test_front_knee_winner_and_states_are_the_reports(said, reported, results):
    assert said["members"] == reported["front"]
    assert said["knee"] == reported["knee"]
    assert said["refused"] == [one["trial"] for one in reported["trials"] if one["allowed"] is False]
    assert said["winner"] == results.winner.number
    trials = reported["trials"]
    assert column(said, "trial")["values"] == [one["trial"] for one in trials]
    assert [said["states"][at] for at in said["state"]] == [one["state"] for one in trials]
    assert set(said["certain"]) == {one["trial"] for one in trials if one["certain"]}
    assert said["runs"] == [one["runs"] for one in trials]
    shares = [one["membership"] for one in trials]
    assert [one is None for one in said["membership"]] == [one is None for one in shares]
    assert [one or 0 for one in said["membership"]] == pytest.approx([one or 0 for one in shares], abs=1e-5)


def test_objectives_are_means_with_the_reports_intervals(said, reported):
    for one in reported["objectives"]:
        found = column(said, one["metric"])
        assert found["goal"] == one["goal"]
        for at, trial in enumerate(reported["trials"]):
            if trial["allowed"] is None:
                assert found["values"][at] is None
                continue
            assert found["values"][at] == pytest.approx(trial["means"][one["metric"]], rel=1e-5)
            within = trial["intervals"][one["metric"]]
            mine = [found[end][at] for end in ("low", "high")] if found["low"] else [None, None]
            assert mine == ([None, None] if within is None else pytest.approx(within, rel=1e-5))


def test_other_metrics_are_the_trials_own(said, reported):
    metrics = [one for one in said["columns"] if one["of"] == "metric"]
    assert {"params_final", "backward_ms"} <= {one["key"] for one in metrics}
    for found in metrics:
        for at, trial in enumerate(reported["trials"]):
            if trial["allowed"] is not None and found["key"] in trial["metrics"]:
                assert found["values"][at] == pytest.approx(trial["metrics"][found["key"]], rel=1e-5)


def test_bands_and_borders_are_those_of_the_figure(said, results):
    from plastsearch.analysis.figure import axis_pairs, bands, front_line

    pairs = axis_pairs(results)
    assert len(said["fronts"]) == len(pairs)
    for mine, pair in zip(said["fronts"], pairs, strict=True):
        assert (mine["x"], mine["y"]) == (results.objectives[pair.x].metric, results.objectives[pair.y].metric)
        line = front_line(results, pair)
        assert mine["line_x"] == pytest.approx([x for x, _ in line], rel=1e-5)
        assert mine["line_y"] == pytest.approx([y for _, y in line], rel=1e-5)
        for band, (_, corners) in zip(mine["bands"], bands(results, pair), strict=True):
            assert band["x"] == pytest.approx([x for x, _ in corners], rel=1e-5)


def test_evaluation_scores_are_results_of_finalists_and_no_column(said, reported):
    assert not any("eval" in one["key"] for one in said["columns"])
    shown = [run for runs in said["details"]["finalists"].values() for run in runs]
    held = {run["trial"]: run["metrics"]["eval_eer"] for one in reported["finalists"] for run in one["runs"]}
    assert {run["trial"]: run["evaluation"] for run in shown} == pytest.approx(held, rel=1e-5)
    # Whatever a trial of the search might carry under such a name stays out, too.
    assert all(not name.startswith("eval_") for name in METRICS)


def test_repeats_stand_under_their_trial(said, reported):
    for at, trial in enumerate(reported["trials"]):
        mine = said["details"]["again"].get(str(at), [])
        assert [run["trial"] for run in mine] == [run["trial"] for run in trial["repeats"]]


def test_growth_is_what_stages_recorded(results):
    row = next(row for row in results.rows if row.record.role == "search" and row.record.state == "done")
    row.record.details["stages"] += [
        {"stage": "dropin", "sites": {"encoder.1.ffn": 32}},
        {"stage": "prune", "removed": {"encoder.1.ffn": 20}, "removed_new": {"encoder.1.ffn": 12}},
    ]
    try:
        growth = page_data(results, [], "", "space.yaml").growth
    finally:
        del row.record.details["stages"][-2:]
    at = next(n for n, one in enumerate(results.rows) if one is row)
    assert [[growth.sites[site], *rest] for site, *rest in growth.grown[at]] == [["encoder.1.ffn", 32, 20, 8]]
    assert growth.widths[growth.network[at]][growth.sites.index("encoder.1.ffn")] == 128


def test_kernels_that_grew_are_rings_from_and_to_so_many_taps(tmp_path):
    results = load_results(make_sweep(tmp_path / "rings", search=4))
    first, second = [row for row in results.rows if row.record.role == "search" and row.record.state == "done"][:2]
    assert grown_rings(first) == {}
    ringed_(first)
    assert grown_sites(first) == {}
    assert grown_rings(first) == {"conv.0": Ring(3, 7, 5), "conv.2": Ring(3, 7, 3)}
    found = growth([first, second])
    assert [[found.sites[site], *rest] for site, *rest in found.rings[0]] == [["conv.0", 3, 7, 5], ["conv.2", 3, 7, 3]]
    assert found.grown[0] == found.rings[1] == []
    assert found.grown[1]
    said = page_data(results, [], "", "space.yaml")
    column = next(one for one in said.columns if one.key == "grown.sites")
    assert column.values[[row.number for row in results.rows].index(first.number)] == 2
    del first.record.details["stages"]
    assert grown_rings(first) == dict.fromkeys(("conv.0", "conv.2"), Ring(3, 7, 7))  # what it was to grow


def test_failures_are_listed_by_cause(said):
    assert said["causes"] == [["loss became NaN at step 41 of retrain", [n for n, _ in _failed(said)]]]


def _failed(said):
    numbers = column(said, "trial")["values"]
    return [(numbers[at], at) for at, state in enumerate(said["state"]) if said["states"][state] == "failed"]


def test_report_writes_the_page_with_its_own_words(tmp_path):
    results = load_results(make_sweep(tmp_path / "mine", search=4))
    files = publish(results, tmp_path / "out")
    said = data_of(files["choose.html"].read_text())
    assert said["verdict"] == verdict(results) == report_json(results)["verdict"]
    assert said["caption"] == caption(results)
    assert shlex.quote(said["space"]) == str(tmp_path / "out" / "space.yaml")


def test_a_sweep_without_any_result_has_a_page(tmp_path):
    folder = make_sweep(tmp_path / "young", search=0, finish=False)
    lines = (folder / "trials.jsonl").read_text().splitlines()
    (folder / "trials.jsonl").write_text("\n".join(lines[:3]) + "\n")  # one proposed trial
    said = data_of(page_of(load_results(folder)))
    assert said["members"] == []
    assert said["look"] == [-1]


def test_thinned_curves_keep_their_ends(results):
    from plastsearch.choose.details import _curve

    row = next(row for row in results.rows if row.record.history)
    whole = _curve(row, ["train", "retrain", "consolidate"], 40)
    thin = _curve(row, ["train", "retrain", "consolidate"], 2)
    assert [whole[1][0], whole[1][-1]] == thin[1]
