"""The report tells how new neurons got on, over the trials that looked and for each of them."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from plastsearch.documents import Table, as_markdown
from plastsearch.report.newborns import looked, newborns, of_trial
from plastsearch.report.sections import report
from plastsearch.sweep.view import describe
from plastsearch.tracking.shapes import check_details


def looks(*ratios, share=0.125):
    return [
        {"step": step, "sites": {"gru.1": {"gradient": ratio, "share": share * step, "units": 0.2}}}
        for step, ratio in enumerate(ratios)
    ]


def looking(results, newborn):
    """The same sweep, had its trials looked; `newborn`: by trial, what the sites were like and what settings it had."""
    rows = []
    for row in results.rows:
        seen, settings = newborn.get(row.number, (None, {}))
        stages = [*row.record.details.get("stages", []), {"stage": "retrain", "key": "ab", "newborns": seen}]
        config = {**row.record.config, **settings}
        record = replace(row.record, config=config, details={**row.record.details, "stages": stages})
        rows.append(replace(row, record=record))
    return replace(results, rows=tuple(rows))


@pytest.fixture
def growing(results):
    """Numbers of three trials that grow neurons."""
    found = [row.number for row in results.rows if row.config.method in ("dropin", "plasticity") and not row.again]
    return found[:3]


def test_a_sweep_that_never_looked_says_nothing(results):
    assert newborns(results) == []
    assert of_trial(results.rows[0]) == []
    assert "Newborns" not in as_markdown(report(results))


def test_medians_over_trials_by_site_and_regime(results, growing):
    each = [(0.25, 0.5, 0.75), (0.5, 0.75, 1.0), (0.0, 0.25, None)]
    plain = {"regime": "frozen"}
    found = looking(results, {number: (looks(*one), plain) for number, one in zip(growing, each, strict=True)})
    (table,) = (block for block in newborns(found) if isinstance(block, Table))
    assert table.columns[:3] == ("site", "regime", "trials")
    assert table.rows == (("gru.1", "frozen", "3", "20.0%", "0.25", "0.50", "0.88", "25.0%"),)
    text = as_markdown(report(found))
    assert "## Newborns" in text
    assert "0.88" in text


def test_trials_whose_new_neurons_got_something_stand_apart(results, growing):
    first, second, third = growing
    faster = {"regime": "frozen", "newborn_lr_ratio": 3.0, "method": "dropin"}
    found = looking(results, {
        first: (looks(0.5, 0.5), {"regime": "frozen"}), second: (looks(0.25, 0.25), faster),
        third: (looks(0.75, 0.75), {"regime": "unfrozen"}),
    })  # fmt: skip
    (table,) = (block for block in newborns(found) if isinstance(block, Table))
    assert [row[:4] for row in table.rows] == [
        ("gru.1", "frozen", "newborn_lr_ratio 3.0", "1"), ("gru.1", "frozen", "nothing of their own", "1"),
        ("gru.1", "unfrozen", "nothing of their own", "1"),
    ]  # fmt: skip
    assert "newborn_lr_ratio 3.0" in describe(next(row for row in found.rows if row.number == second).record)


def test_a_trial_shows_every_look(results, growing):
    found = looking(results, {growing[0]: (looks(0.25, None, 0.5), {})})
    row = next(row for row in found.rows if row.number == growing[0])
    (table,) = (block for block in of_trial(row) if isinstance(block, Table))
    assert [cells[1:4] for cells in table.rows] == [("0", "0.25", "0.0%"), ("1", "", "12.5%"), ("2", "0.50", "25.0%")]
    assert [one.units for one in looked(row)["gru.1"]] == [0.2] * 3


def test_a_journal_that_says_it_otherwise_is_refused():
    good = {"stages": [{"stage": "retrain", "key": "ab", "newborns": looks(0.5)}]}
    check_details(good)
    with pytest.raises(ValidationError):
        check_details(
            {"stages": [{"stage": "retrain", "key": "ab", "newborns": [{"step": 0, "sites": {"a": [1, 2]}}]}]}
        )
