"""The report says how early results rank the trials, of every sweep, and warns where halting looked at poor rungs."""

from dataclasses import replace

import pytest

from plastsearch.documents import Heading, Points, Table, as_markdown
from plastsearch.report.foretold import early, foretelling
from plastsearch.report.publish import report_json
from plastsearch.tracking.events import Reported


def turned(results):
    """The same sweep, had early results foretold the contrary."""
    rows = []
    for row in results.rows:
        history = [
            one.model_copy(update={"metrics": {"dev_eer": 100.0 - one.metrics["dev_eer"]}})
            if isinstance(one, Reported) and one.stage == "retrain"
            else one
            for one in row.record.history
        ]
        rows.append(replace(row, record=replace(row.record, history=history)))
    return replace(results, rows=tuple(rows), spec=results.spec | {"halt": {"kind": "asha", "rungs": [0.4]}})


def test_a_sweep_without_halting_shows_quarters(results):
    blocks = foretelling(results)
    assert isinstance(blocks[0], Heading)
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["25%", "50%"]  # at three quarters the next report is the end
    assert {row[2] for row in table.rows} == {"1.00"}
    assert "halting seldom stops the best" in as_markdown(blocks)


def test_poor_rungs_are_named_where_halting_looked_at_them(results):
    blocks = foretelling(turned(results))
    text = as_markdown(blocks)
    assert "40%" in text
    assert "-1.00" in text
    assert "halt.rungs" in text
    assert any(isinstance(block, Points) for block in blocks)


def test_programs_get_the_numbers(results):
    found = report_json(results)["foretold"]
    assert [one["share"] for one in found] == [0.25, 0.5]
    assert all(one["correlation"] == pytest.approx(1.0) for one in found)


def test_a_sweep_of_few_trials_says_nothing(results):
    few = replace(results, rows=results.rows[:5])
    assert early(few) == []
    assert foretelling(few) == []
