"""The report says what happened, honestly: verdict, controls, finalists, savings, failures; and its files are whole."""

import csv
import json
from dataclasses import replace

import pytest
import yaml

from plastsearch.analysis.document import Code, Heading, Points, Table, Text, as_html, as_markdown
from plastsearch.analysis.publish import publish, render
from plastsearch.analysis.report import document, front_table, incoming, report, savings
from plastsearch.analysis.results import load_results
from plastsearch.analysis.verdict import verdict
from plastsearch.spec.sweep import SweepSpec
from tests.made_sweep import make_sweep


def with_baseline(results, **metrics):
    """The same sweep with another outcome of its baseline."""
    rows = tuple(
        replace(row, record=replace(row.record, metrics=row.metrics | metrics))
        if row.record.control == "baseline"
        else row
        for row in results.rows
    )
    return replace(results, rows=rows, finalists=())


def best(results):
    return min((r for r in results.plotted if r.record.role == "search"), key=lambda r: r.metrics["dev_eer"])


def test_overlapping_intervals_are_called_chance(results):
    first = verdict(results)[0]
    assert first.startswith("Growth has the lower dev EER, but the intervals overlap, so it may be chance")
    assert best(results).label in first


def test_a_baseline_that_wins_is_said_to(results):
    row = best(results).metrics
    found = verdict(with_baseline(results, dev_eer=row["dev_eer"] - 1))
    assert found[0].startswith("Growth did not beat the equal-budget baseline")


def test_growth_that_wins_clearly_is_said_to(results):
    high = best(results).metrics["dev_eer_high"]
    found = verdict(with_baseline(results, dev_eer=high + 5, dev_eer_low=high + 2, dev_eer_high=high + 9))
    assert found[0].startswith("Growth beats the equal-budget baseline")
    assert "do not overlap" in found[0]


def test_without_a_baseline_nothing_is_claimed(results):
    rows = tuple(row for row in results.rows if row.record.control != "baseline")
    assert "cannot be told" in verdict(replace(results, rows=rows))[0]
    assert verdict(replace(results, rows=(), finalists=()))[0].startswith("No trial that grows a network has finished")


def test_the_best_of_many_is_called_flattering_and_the_evaluation_decides(results):
    text = " ".join(verdict(results))
    assert "best of 20" in text
    assert "On the evaluation split" in text
    assert "beats the baseline" in text


def test_the_evaluation_verdict_is_on_the_trial_that_dev_chose(results):
    """Choosing among finalists by their evaluation scores would be a search on them."""
    chosen = min(one.of for one in results.finalists if one.of == best(results).number)
    swapped = tuple(
        replace(one, rows=tuple(
            replace(row, record=replace(row.record, metrics=row.metrics | {"eval_eer": 49.0})) for row in one.rows))
        if one.of == chosen else one
        for one in results.finalists
    )  # fmt: skip
    assert "does not beat the baseline" in verdict(replace(results, finalists=swapped))[-1]


def test_the_front_table_has_the_promised_columns(results):
    table = front_table(results)
    assert table.columns == (
        "trial", "method", "layers", "neurons", "criterion", "regime", "dev EER %", "backward ratio", "parameters",
    )  # fmt: skip
    assert len(table.rows) == len(results.front)
    assert any("(knee)" in row[0] for row in table.rows)
    assert "[" in table.rows[0][6]


def test_the_report_names_every_loss(results):
    text = as_markdown(report(results))
    for part in (
        "loss became NaN at step 41 of retrain", "worker process died", "Halted early", "no backward_ratio",
        "2 train and search-dev clips or lines could not be used", "3 evaluation clips or lines",
        "timings vary by 17 % (1 trial)", "`train` 32 times",
        "Finalists", "eval EER", "How to do it again", "space.yaml",
    ):  # fmt: skip
        assert part in text


def test_savings_are_summed_over_all_trials(results):
    every = [*results.rows, *(row for one in results.finalists for row in one.rows)]
    found = savings(results)
    assert found["reused_seconds"] == sum(row.metrics.get("reused_seconds", 0) for row in every)
    assert found["seconds"] == sum(row.record.seconds for row in every)
    assert "saved 1 min 42 s" in as_markdown(report(results))


def test_a_sweep_of_nothing_still_reports(tmp_path):
    lines = (make_sweep(tmp_path / "whole") / "trials.jsonl").read_text().splitlines()
    (tmp_path / "trials.jsonl").write_text("\n".join(lines[:2]) + "\n")
    results = load_results(tmp_path)
    assert "there is no front" in as_markdown(report(results))
    assert set(publish(results)) == {
        "pareto.html",
        "report.md",
        "report.html",
        "trials.csv",
        "space.yaml",
        "pareto.png",
    }


def test_published_files(folder, results):
    files = publish(results)
    assert all(path.stat().st_size > 200 for path in files.values())
    assert not list((folder / "report").glob(".*"))  # drafts are gone
    rows = list(csv.DictReader(files["trials.csv"].read_text().splitlines()))
    assert len(rows) == len(results.rows) + 6
    assert float(rows[0]["dev_eer"]) == results.rows[0].metrics["dev_eer"]
    spec = SweepSpec.model_validate(yaml.safe_load(files["space.yaml"].read_text()))
    assert spec.spec_hash() == results.spec_hash  # running it again asks the same question
    assert "<table>" in files["report.html"].read_text()


def test_rendering_for_a_tracker(folder, results):
    found = render(folder)
    assert found.front == {row.number for row in results.front}
    assert found.page in found.files
    assert found.picture in found.files
    assert "| trial |" in found.note
    assert found.summary["trials_failed"] == 1


def test_the_document_for_programs_is_plain(results):
    found = json.loads(json.dumps(document(results)))
    assert found["front"] == [row.number for row in results.front]
    assert found["finalists"][0]["eval_eer_mean"] > 0
    assert len(found["trials"]) == len(results.rows)


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "a | b", "two\nlines", "*bold*"])
def test_blocks_escape_what_users_write(evil):
    blocks = [Heading(evil), Text(evil), Points((evil,)), Code(evil), Table(("x",), ((evil,),))]
    assert "<script>" not in as_html(blocks)
    markdown = as_markdown([Table(("x",), ((evil,),))])
    assert len(markdown.strip().splitlines()) == 3
    assert "<script>" not in markdown


def test_the_report_says_how_often_the_incoming_state_won(results):
    """A stage that many trials share counts once."""

    def ended(row, *stages):
        found = [{"stage": name, "key": key, "from": "computed", "incoming_won": won} for name, key, won in stages]
        return replace(row, record=replace(row.record, details=row.record.details | {"stages": found}))

    assert incoming(results) is None  # a sweep from before stages said so
    first, second, third, *rest = results.rows
    shared = ("train", "a", False)
    rows = (ended(first, shared, ("retrain", "b", True)), ended(second, shared, ("retrain", "c", False)), third, *rest)
    said = incoming(replace(results, rows=rows))
    assert "in 1 of 3 stages that trained it scored best" in said
    assert "(`retrain` 1 of 2)" in said
    assert any(getattr(block, "text", "") == said for block in report(replace(results, rows=rows)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "In every arm alike, each training clip was cut at 4 fixed places in turn"),
        ({"crops": 1}, "In every arm alike, training saw the head of each clip."),
        ({"crops": "fresh"}, "In every arm alike, each training clip was cut at a fresh random place per epoch."),
    ],
)
def test_the_report_says_which_parts_of_the_clips_all_arms_saw(data, words, results):
    spec = results.spec | {"base": results.spec["base"] | {"data": data}}
    assert words in as_markdown(report(replace(results, spec=spec)))
