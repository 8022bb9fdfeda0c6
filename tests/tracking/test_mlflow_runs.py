"""How a trial reads in MLflow: results at step 0, curves in sections, partial results apart, keys it accepts."""

import re

from plastsearch.tracking.journal import read, trials
from plastsearch.tracking.mlflow_runs import (
    PARAM_LIMIT,
    TAG_LIMIT,
    in_lots,
    sweep_id,
    sweep_params,
    trial_identity,
    trial_name,
    trial_params,
    trial_points,
    trial_tags,
)

KEY = re.compile(r"[\w\-. :/]+")


def by_state(folder, state):
    return next(record for record in trials(read(folder)).values() if record.state == state)


def test_results_stand_once_at_step_0_and_curves_in_sections(folder):
    record = trials(read(folder))[0]
    points = trial_points(record)
    final = {point.key: point for point in points if point.step == 0}
    assert {key: point.value for key, point in final.items()} == record.metrics
    assert {point.timestamp_ms for point in final.values()} == {round(record.ended_at * 1000)}
    assert {point.key for point in points if point.step} == {"dev/eer", "train/loss"}


def test_what_a_halted_trial_had_reached_does_not_sort_among_results(folder):
    keys = {point.key for point in trial_points(by_state(folder, "halted"))}
    assert "partial/dev_eer" in keys
    assert "dev_eer" not in keys
    assert trial_tags(by_state(folder, "halted"))["plastsearch.fidelity"] == "0.5"
    assert "NaN" in trial_tags(by_state(folder, "failed"))["plastsearch.reason"]


def test_keys_and_lengths_are_what_mlflow_takes(folder):
    record = trials(read(folder))[3]
    record.params |= {"layers{0}*": "x" * 9000}
    record.details["é$%"] = ["y" * 9000]
    for values, limit in ((trial_params(record), PARAM_LIMIT), (trial_tags(record), TAG_LIMIT)):
        assert all(KEY.fullmatch(key) and len(key) <= 250 for key in values)
        assert all(0 < len(value) <= limit for value in values.values())


def test_params_hold_the_searched_and_the_usual(folder):
    found = trial_params(trials(read(folder))[4])
    assert {"layers", "neurons", "criterion", "regime", "method", "model", "corpus", "seed"} <= set(found)
    assert "encoder." in found["layers"]


def test_identity_finds_a_trial_again(folder):
    opening = read(folder)[0]
    record = trials(read(folder))[1]
    tags = trial_identity(record, opening, "parent")
    assert tags["plastsearch.sweep"] == sweep_id(opening)
    assert (tags["plastsearch.trial"], tags["plastsearch.control"]) == ("1", "lora")
    assert sweep_id(opening) != sweep_id(opening.model_copy(update={"at": opening.at + 1}))


def test_names_for_people(folder):
    records = trials(read(folder))
    assert [trial_name(records[n]) for n in (0, 5)] == ["baseline 0", "trial 5"]
    finalist = [record for record in records.values() if record.role == "finalist"][-1]
    assert trial_name(finalist) == f"finalist {finalist.number}"


def test_the_sweeps_parameters(folder):
    found = sweep_params(read(folder)[0])
    assert found["objectives"] == "min dev_eer, min backward_ratio, min params_total"
    assert found["controls"] == "baseline lora random"


def test_lots():
    assert in_lots(range(5), 2) == [[0, 1], [2, 3], [4]]
    assert in_lots([], 2) == []
