"""The report says what happened, honestly: verdict, controls, finalists, savings, failures; and its files are whole."""

import csv
import json
import re
from dataclasses import replace

import pytest
import yaml

from plastsearch.analysis.results import load_results
from plastsearch.documents import Code, Heading, Points, Table, Text, as_html, as_markdown
from plastsearch.report.front_section import front_table
from plastsearch.report.losses import savings
from plastsearch.report.publish import publish, render, report_json
from plastsearch.report.sections import incoming, report
from plastsearch.report.verdict import verdict
from plastsearch.spec.sweep import SweepSpec
from tests.made_sweep import make_sweep


def test_a_verdict_is_on_the_difference_with_its_interval_and_p_value(results):
    label = results.winner.label.capitalize()
    found = verdict(results)
    first = (
        rf"No difference shown between {label.lower()} and the equal-budget baseline \(no growth\) on dev EER: "
        r"8.98 against 11.98 %, -2.99 points \[-5.\d\d, -0.\d\d\], p = 0.\d{3} after Holm's correction over 4 "
        r"\(1 seed, 576 clips of 24 speakers\)\."
    )
    assert re.fullmatch(first, found[0])
    assert "LoRA on the same sites" in found[1]
    assert found[2].startswith(f"{label} is better than growth at random sites on dev EER")


@pytest.mark.parametrize(("eer", "says"), [(30.0, "is better than"), (3.0, "is worse than")])
def test_a_clear_difference_is_called_by_its_name(tmp_path, eer, says):
    results = load_results(make_sweep(tmp_path, baseline_eer=eer))
    label = results.winner.label.capitalize()
    assert verdict(results)[0].startswith(f"{label} {says} the equal-budget baseline (no growth) on dev EER")


def test_without_a_baseline_nothing_is_claimed(results):
    rows = tuple(row for row in results.rows if row.record.control != "baseline")
    assert "cannot be compared with the equal-budget baseline" in verdict(replace(results, rows=rows))[0]
    unasked = replace(results, rows=rows, spec=results.spec | {"controls": ["lora"]})
    assert verdict(unasked)[0] == "The sweep has no baseline (no growth), so whether growth helps cannot be told."
    assert verdict(replace(results, rows=(), finalists=()))[0].startswith("No trial that grows a network has finished")


def test_the_best_of_many_is_called_flattering_and_the_evaluation_decides(results):
    found = verdict(results)
    assert any("best of 20" in one for one in found)
    assert found[-1].startswith("On the evaluation split, no difference shown between")
    assert "(2 seeds, 576 clips of 24 speakers)" in found[-1]


def test_the_evaluation_verdict_is_on_the_trial_that_dev_chose(results):
    """Choosing among finalists by their evaluation scores would be a search on them."""
    assert results.winner.number in {one.of for one in results.finalists}
    assert {one.subject for one in results.comparisons if one.runs == "finalists"} == {results.winner.number}


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
        "timings vary by 17 % (1 trial: 4)", "`train` 32 times",
        "Finalists", "eval EER", "| p, Holm |", "Differences in points of EER", "How to do it again", "space.yaml",
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
        "choose.html",
        "report.md",
        "report.html",
        "trials.csv",
        "trials.parquet",
        "tables.tex",
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
    members = {number for number, marks in found.marks.items() if "plastsearch.front" in marks}
    assert members == {row.number for row in results.front}
    assert found.page in found.files
    assert found.picture in found.files
    assert "| trial |" in found.note
    assert found.summary["trials_failed"] == 1


def test_the_document_for_programs_is_plain(results):
    found = json.loads(json.dumps(report_json(results)))
    assert found["front"] == [row.number for row in results.front]
    assert found["finalists"][0]["eval_eer_mean"] > 0
    assert len(found["trials"]) == len(results.rows)
    first = found["comparisons"][0]
    assert (first["control"], first["split"], first["finding"]) == ("baseline", "search_dev", "no difference shown")
    assert first["answer"]["low"] < first["answer"]["points"] < first["answer"]["high"] < 0
    assert first["answer"]["p"] < 0.05 < first["p_corrected"]


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


@pytest.mark.parametrize(("metric", "names", "said"), [
    ("backward_ms", ("NVIDIA H100", "NVIDIA H100 MIG 1g.10gb"), True),
    ("backward_ms", ("NVIDIA H100", "NVIDIA H100"), False),
    ("backward_ratio", ("NVIDIA H100", "NVIDIA H100 MIG 1g.10gb"), False),
])  # fmt: skip
def test_milliseconds_of_unlike_devices_are_not_compared_in_silence(results, metric, names, said):
    def timed(row, name):
        return replace(row, record=replace(row.record, details=row.record.details | {"device": {"name": name}}))

    rows = tuple(timed(row, names[at % 2]) for at, row in enumerate(results.rows))
    first, second, *rest = results.objectives
    objectives = (first, second.model_copy(update={"metric": metric}), *rest)
    text = as_markdown(report(replace(results, rows=rows, objectives=objectives)))
    assert ("backward_ms of unlike devices (NVIDIA H100" in text) == said
    assert ("NVIDIA H100 MIG 1g.10gb: " in text) == said
