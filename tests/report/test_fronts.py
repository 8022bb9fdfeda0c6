"""What is shown of a front's certainty: bands, shapes, means with intervals, trust in words, budgets."""

import csv
import json
from dataclasses import replace

import pytest

from plastsearch.analysis.figure import axis_pairs, bands, groups, hover
from plastsearch.documents import as_markdown
from plastsearch.errors import PlastsearchError
from plastsearch.pareto.noise import Noise
from plastsearch.report.front_section import best_under, brackets, front_table, gain_words, parse_budget
from plastsearch.report.page import pareto_figure
from plastsearch.report.publish import caption, render, report_json
from plastsearch.report.sections import opening, report
from plastsearch.report.tables import trials_csv
from plastsearch.report.trust import HEADING, reliabilities, trust
from plastsearch.report.verdict import verdict
from plastsearch.sweep.view import SweepView


def test_repeats_are_part_of_their_trial_and_no_row_of_their_own(noisy):
    assert sum(len(row.again) for row in noisy.rows) == 15
    assert all(run.record.of == row.number for row in noisy.rows for run in row.again)
    assert {row.record.role for row in noisy.rows} == {"search", "control"}
    assert "15 runs with further seeds and 6 finalist runs" in as_markdown(opening(noisy))
    assert {run.label for run in noisy.control("baseline").again} == {
        f"seed {n} of baseline (no growth)" for n in (1, 2, 3)
    }


def test_certain_and_probable_members_differ_by_shape_and_name(noisy):
    by_name = {group.name: group for group in groups(noisy)}
    sure, likely = by_name["front, certain"].rows, by_name["front, probable"].rows
    assert sure
    assert likely
    assert all(len(row.runs) > 1 and row.membership >= 0.9 for row in sure)
    assert all(len(row.runs) == 1 or row.membership < 0.9 for row in likely)
    symbols = {trace["name"]: trace["marker"].get("symbol") for trace in pareto_figure(noisy)["data"]
               if trace["name"].startswith("front")}  # fmt: skip
    assert symbols == {"front, certain": "circle", "front, probable": "triangle-up"}
    assert "circles where that is certain" in caption(noisy)


def test_a_sweep_of_single_runs_has_bands_by_clips_and_says_so(single):
    assert [group.name for group in groups(single) if group.kind == "front"] == ["front"]
    for pair in axis_pairs(single)[:2]:  # those with an EER
        wide, narrow = (area for _, area in bands(single, pair))
        assert max(y for _, y in wide) >= max(y for _, y in narrow)
        assert min(y for _, y in wide) < min(y for _, y in narrow)
    assert "each trial ran once: what other seeds would do is not in it" in caption(single)
    assert "How far seeds scatter is not known" in brackets(single)
    assert "allowing for luck of clips" in gain_words(single)


def test_bands_stay_within_the_trials_that_are_drawn(noisy):
    names = [trace["name"] for trace in pareto_figure(noisy)["data"]]
    assert names[:2] == ["95 % of fronts", "50 % of fronts"]  # below all points
    for pair in axis_pairs(noisy):
        for _, area in bands(noisy, pair):
            assert max(x for x, _ in area) <= max(row.values[pair.x] for row in noisy.plotted)


@pytest.mark.parametrize("count", [1, 2])
def test_bands_of_any_number_of_objectives(noisy, count):
    rows = tuple(replace(row, values=row.values[:count]) for row in noisy.rows)
    fewer = replace(noisy, objectives=noisy.objectives[:count], rows=rows)
    (pair,) = axis_pairs(fewer)
    assert [share for share, area in bands(fewer, pair) if len(area) > 4] == [0.95, 0.5]


def test_hover_and_table_tell_runs_means_and_membership(noisy):
    row = next(one for one in noisy.front if len(one.runs) == 4)
    text = hover(noisy, row)
    assert "mean of 4 runs, in the front with" in text
    assert text.count("single runs") >= 1
    assert f"{row.metrics['dev_eer']:.2f}" in text
    table = front_table(noisy)
    assert table.columns[-2:] == ("runs", "membership")
    cells = dict(zip(table.columns, table.rows[noisy.front.index(row)], strict=True))
    assert cells["runs"] == "4"
    assert cells["dev EER %"].startswith(f"{row.values[0]:.2f} [")
    assert any(line[-1].endswith("certain") for line in table.rows)
    assert "means over each trial's runs" in brackets(noisy)


def test_the_comparison_with_the_baseline_uses_all_common_seeds(noisy):
    found = {one.control: one for one in noisy.comparisons if one.runs == "trials"}
    assert found["baseline"].answer.seeds == found["baseline"].asked == len(noisy.winner.runs) == 4
    assert found["lora"].answer.seeds == found["lora"].asked == 1  # ran once
    assert found["baseline"].answer.one == pytest.approx(noisy.winner.values[0])
    said = " ".join(verdict(noisy))
    assert "best of 20 by means over seeds" in said
    assert "less so than a single run would, since it ran with 4 seeds" in said


def test_trust_is_told_in_numbers_and_words(noisy, single):
    text = as_markdown(trust(noisy))
    assert HEADING in text
    assert "between configurations | between runs | seeds, all alike | reliability" in text
    assert "By dev EER (%) the ranking" in text
    assert "No scatter between runs: parameters, largest." in text
    assert HEADING in as_markdown(report(noisy))
    assert "no configuration ran twice" in as_markdown(trust(single))
    assert "search: {replicate: auto}" in as_markdown(trust(single))
    assert trust(replace(single, rows=())) == []


def test_a_ranking_of_luck_is_called_so_with_what_would_help(noisy):
    low = {"reliability": 0.2, "low": 0.0, "high": 0.45, "unpaired": 0.15, "freedom": 18}
    luck = Noise(21, 45, between=1.0, rest=2.0, seeds=0.0, **low)
    text = as_markdown(trust(replace_noise(noisy, dev_eer=luck)))
    assert (
        "By dev EER (%) the ranking is mostly luck: reliability 0.20 [0.00, 0.45] (21 configurations, 45 runs)" in text
    )
    assert "What would help: means of 16 runs, which would bring it to 0.8" in text
    assert "more steps: which clips are drawn explains little" in text
    sure = Noise(21, 45, 1.0, 0.1, 0.0, 0.95, 0.9, 0.99, 0.95, 15)
    text = as_markdown(trust(replace_noise(noisy, dev_eer=luck, dev_cllr=sure)))
    assert "another metric: `dev_cllr` has 0.95 on the same runs" in text
    by_clips = replace_noise(noisy, dev_eer=replace(luck, between=0.05, rest=0.1))
    assert "more dev clips: which clips are drawn explains about" in as_markdown(trust(by_clips))
    none = replace_noise(noisy, dev_eer=replace(luck, between=0.0, reliability=0.0))
    assert "no difference was found" in as_markdown(trust(none))


def replace_noise(results, **found):
    other = replace(results)
    other.noise("dev_eer")
    other._noise.update(found)
    return other


def test_the_best_under_a_budget_keeps_within_it_and_nobody_within_it_is_better(noisy):
    found = best_under(noisy)
    assert {one.metric for one in found} == {"backward_ratio", "params_total"}
    for one in found:
        at = [objective.metric for objective in noisy.objectives].index(one.metric)
        inside = [row for row in noisy.plotted if row.allowed and row.values[at] <= one.bound]
        assert one.row.values[0] == min(row.values[0] for row in inside)
        assert one.row.in_front
    asked = best_under(noisy, [parse_budget("params_total=1"), parse_budget("params_added = 5e3")])
    assert asked[0].row is None
    assert asked[1].row.metrics["params_added"] <= 5000
    assert "parameters, largest ≤ 1 | none" in as_markdown(report(noisy, [("params_total", 1.0)]))


@pytest.mark.parametrize(("text", "says"), [
    ("parms_total=3", "did you mean 'params_total'"), ("params_total=many", "'many' is no number"),
    ("params_total", "'' is no number"),
])  # fmt: skip
def test_a_budget_that_is_none_is_refused_in_a_sentence(text, says):
    with pytest.raises(PlastsearchError, match="write METRIC=NUMBER") as caught:
        parse_budget(text)
    assert says in str(caught.value)


def test_programs_are_told_the_same(noisy):
    found = json.loads(json.dumps(report_json(noisy)))
    assert found["gain"]["low"] < found["gain"]["likely"] < found["gain"]["high"]
    assert found["gain"]["by"] == "seeds and clips"
    assert found["hypervolume"] == noisy.hypervolume
    assert found["reliability"].keys() == reliabilities(noisy).keys() >= {"dev_eer", "dev_cllr"}
    best = next(one for one in found["trials"] if one["runs"] == 4 and one["in_front"])
    row = next(one for one in noisy.rows if one.number == best["trial"])
    assert best["means"]["dev_eer"] == row.values[0] != best["metrics"]["dev_eer"]
    assert best["intervals"]["dev_eer"] == list(noisy.interval(row, 0))
    assert len(best["repeats"]) == 3
    assert best["membership"] == row.membership
    lines = {line["trial"]: line for line in csv.DictReader(trials_csv(noisy).splitlines())}
    assert len(lines) == len(noisy.every)
    line = lines[str(row.number)]
    assert (line["runs"], float(line["mean.dev_eer"])) == ("4", row.values[0])
    assert float(line["dev_eer"]) == row.metrics["dev_eer"]
    again = lines[str(row.again[0].number)]
    assert (again["role"], again["of"], again["runs"]) == ("replicate", str(row.number), "")


def test_a_tracker_is_told_who_is_certain_and_how_reliable_the_ranking_is(noisy):
    found = render(noisy.folder)
    fronts = {
        number: marks["plastsearch.front"] for number, marks in found.marks.items() if "plastsearch.front" in marks
    }
    assert fronts == {row.number: "certain" if row.certain else "probable" for row in noisy.front}
    sure = next(row for row in noisy.front if row.certain)
    assert found.marks[sure.number]["plastsearch.membership"] == f"{sure.membership:.2f}"
    assert found.marks[sure.number]["plastsearch.runs"] == str(len(sure.runs))
    assert found.means[sure.number]["mean_dev_eer"] == sure.values[0]
    summary = found.summary
    assert summary["reliability.dev_eer_low"] < summary["reliability.dev_eer"] < summary["reliability.dev_eer_high"]
    assert summary["gain_low"] < summary["gain_likely"] < summary["gain_high"]
    view = SweepView({}, noisy.ranking)
    view.drawn_with(summary)
    assert view.likely_gain == noisy.likely_gain  # what the footer says is what the report says
    assert found.tags["plastsearch.knee"] == str(noisy.knee.number)
    assert "trial" in found.tags["plastsearch.best_under.params_total"]
    assert HEADING in found.note
