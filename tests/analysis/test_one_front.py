"""The driver and the report answer alike: who is in the front, what it dominates, which trial controls answer to."""

import json

import pytest

from plastsearch.analysis.results import load_results
from plastsearch.tracking.journal import read, trials
from plastsearch.tracking.ranking import ranking_of
from tests.made_sweep import SPEC, make_sweep

EER = {"metric": "dev_eer", "goal": "min"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"constraints": ["params_total <= 1.03 * baseline", "turnover <= 1"]},
        {"constraints": ["dev_eer <= baseline"]},
        {"objectives": [EER | {"reference": 0}, {"metric": "backward_ratio", "goal": "min"}]},
        {"objectives": [{"metric": "dev_cllr", "goal": "max", "reference": 0}]},
        {"objectives": [{"metric": "turnover", "goal": "max"}, EER]},
    ],
)
def test_the_report_says_what_the_driver_saw(tmp_path, changes):
    path = make_sweep(tmp_path) / "trials.jsonl"
    head, *rest = path.read_text().splitlines()
    spec = SPEC | changes
    path.write_text("\n".join([json.dumps(json.loads(head) | {"spec": spec}), *rest]) + "\n")
    records = trials(read(tmp_path))
    driver, results = ranking_of(spec, records.values()), load_results(tmp_path)
    assert [row.number for row in results.front] == [r.number for r in driver.front(records.values())]
    assert {row.number for row in results.rows if row.in_front} == {row.number for row in results.front}
    assert results.hypervolume == driver.hypervolume(list(records.values()))
    assert [one.reference for one in results.objectives] == [one.reference for one in driver.resolved(records.values())]
    winner = driver.winner(records.values())
    assert results.winner.number == winner.number
    assert winner.role == "search"
