"""The table of a sweep: who counts, who is in the front, and what the journal says of the sweep itself."""

import json
import math

import numpy as np
import pytest

from plastsearch.analysis.results import load_results
from plastsearch.errors import PlastsearchError
from tests.made_sweep import BASELINE_PARAMS, SPEC, make_sweep


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def test_the_front_is_what_nothing_finished_dominates(results):
    counted = [row for row in results.rows if row.record.state == "done" and row.complete]
    expected = {row.number for row in counted if not any(dominates(other.values, row.values) for other in counted)}
    assert {row.number for row in results.front} == expected
    assert len(expected) > 1


def test_halted_failed_unmeasured_and_finalist_runs_stay_out(results):
    by_state = {row.record.state: row for row in results.rows}
    assert by_state["halted"].values[0] < min(row.values[0] for row in results.front)  # it would have won
    assert not by_state["halted"].in_front
    assert by_state["halted"].allowed is None
    assert not by_state["failed"].in_front
    unmeasured = [row for row in results.rows if row.record.state == "done" and not row.complete]
    assert len(unmeasured) == 1
    assert not unmeasured[0].in_front
    assert all(row.record.role != "finalist" for row in results.rows)


def test_controls_are_marked_and_take_part(results):
    assert [row.record.control for row in results.controls] == ["baseline", "lora", "random"]
    assert results.control("baseline") in results.front  # it has the fewest parameters
    assert results.control("baseline").label == "baseline (no growth)"
    assert results.control("lora").label == "LoRA, same sites"


def test_finalists_are_joined_to_the_trials_they_repeat(results):
    numbers = {row.number for row in results.rows}
    assert len(results.finalists) == 3
    for one in results.finalists:
        assert one.of in numbers
        assert len(one.values("eval_eer")) == 2
    assert not any("eval_eer" in row.metrics for row in results.rows)


def test_references_and_hypervolume(results):
    assert [one.reference for one in results.objectives] == [50.0, 1.1, 1.5 * BASELINE_PARAMS]
    assert results.hypervolume > 0
    assert results.knee in results.front


def test_a_sweep_that_runs_gives_what_it_has(tmp_path):
    running = load_results(make_sweep(tmp_path / "half", finish=False))
    assert running.status == "running"
    assert running.front
    assert [row.record.state for row in running.rows][-1] == "running"
    assert load_results(make_sweep(tmp_path / "whole")).status == "done"


def test_a_resumed_sweep_runs_again(folder, tmp_path):
    text = (folder / "trials.jsonl").read_text()
    (tmp_path / "trials.jsonl").write_text(text + json.dumps({"event": "session", "at": 2e9, "session": 2}) + "\n")
    assert load_results(tmp_path).status == "running"


@pytest.mark.parametrize(
    ("limit", "fits"),
    [
        ("params_total <= 1.05 * baseline", lambda row, _: row.metrics["params_total"] <= 1.05 * BASELINE_PARAMS),
        ("backward_ratio <= 0.5", lambda row, _: row.metrics["backward_ratio"] <= 0.5),
        ("dev_eer <= 0.9 * baseline", lambda row, base: row.metrics["dev_eer"] <= 0.9 * base["dev_eer"]),
    ],
)
def test_constraints_are_honoured(folder, tmp_path, limit, fits):
    path = with_spec(folder, tmp_path, constraints=[limit])
    found = load_results(path)
    base = found.control("baseline").metrics
    assert found.front
    assert all(fits(row, base) for row in found.front)
    assert {row.number for row in found.plotted if not row.allowed} == {
        row.number for row in found.plotted if not fits(row, base)
    }


def test_the_front_does_not_care_for_the_order_of_the_journal(folder, tmp_path):
    lines = (folder / "trials.jsonl").read_text().splitlines()
    proposals = [line for line in lines if '"propose"' in line]
    rest = [line for line in lines if '"propose"' not in line]
    np.random.default_rng(0).shuffle(proposals)
    (tmp_path / "trials.jsonl").write_text("\n".join(rest[:2] + proposals + rest[2:]) + "\n")
    shuffled = {row.number for row in load_results(tmp_path).front}
    assert shuffled == {row.number for row in load_results(folder).front}


def test_goals_turn_round(folder, tmp_path):
    goals = [{"metric": "turnover", "goal": "max"}, {"metric": "dev_eer", "goal": "min"}]
    found = load_results(with_spec(folder, tmp_path, objectives=goals))
    assert {row.metrics["dev_eer"] for row in found.front} == {
        min(row.metrics["dev_eer"] for row in found.plotted)
    }  # turnover is the same for all
    assert found.hypervolume is None  # no reference is known for it


def test_folders_without_a_sweep(tmp_path):
    with pytest.raises(PlastsearchError, match="no sweep here"):
        load_results(tmp_path)
    (tmp_path / "trials.jsonl").write_text("")
    with pytest.raises(PlastsearchError, match="no sweep was recorded"):
        load_results(tmp_path)


def test_a_sweep_without_one_finished_trial(tmp_path):
    lines = (make_sweep(tmp_path / "whole") / "trials.jsonl").read_text().splitlines()
    (tmp_path / "trials.jsonl").write_text("\n".join(lines[:2]) + "\n")
    found = load_results(tmp_path)
    assert found.front == []
    assert found.knee is None
    assert found.hypervolume is None or found.hypervolume == 0


def test_missing_values_are_missing(results):
    row = next(row for row in results.rows if row.record.state == "failed")
    assert all(math.isnan(value) for value in row.values[1:])
    assert row.interval("dev_eer") is None


def with_spec(folder, to, **changes):
    lines = (folder / "trials.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    first["spec"] = SPEC | changes
    (to / "trials.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    return to
