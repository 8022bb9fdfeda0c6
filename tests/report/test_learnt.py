"""A report says what was learnt from whom, and how that changed while the sweep went on."""

from dataclasses import replace

import pytest

from plastsearch.analysis.results import load_results
from plastsearch.analysis.rows import TrialRow
from plastsearch.documents import Heading, Table, Text, as_markdown
from plastsearch.report.learnt import learnt
from plastsearch.report.sections import report
from plastsearch.search.space import open_space
from plastsearch.search.study import Study
from plastsearch.search.warm_start import learn
from plastsearch.spec.sweep import SweepSpec
from plastsearch.tracking.earlier import keep
from tests.made_sweep import WRITTEN, make_sweep
from tests.search.test_study import go


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("old") / "first", search=30)


def told(results, source, folder, sampler="auto"):
    """Results of a sweep of 24 trials that was told of the source."""
    search = {**WRITTEN["search"], "warm_start": [str(source)], "sampler": sampler}
    spec = SweepSpec.model_validate({**WRITTEN, "search": search})
    space = open_space(spec)
    earlier = learn(spec, space)
    folder.mkdir()
    keep(folder, earlier)
    records = go(Study(spec, space, None, [], None, earlier), 24)
    rows = tuple(TrialRow(record, tuple(results.ranking.values(record)), True) for record in records)
    return replace(results, folder=folder, spec=spec.plain(), rows=rows, finalists=())


def test_weights_are_told_as_they_changed(results, source, tmp_path):
    blocks = learnt(told(results, source, tmp_path / "new"))
    assert blocks[0] == Heading("Learnt from earlier sweeps")
    assert isinstance(blocks[1], Text)
    assert "first: 30 of 33 trials fit this space" in blocks[1].text
    table = next(block for block in blocks if isinstance(block, Table))
    names = ("from", "trials", "openings", "in the front")
    assert table.columns == (*names, "weight after 10", "weight after 20", "weight after 24")
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert (row["from"], row["trials"], row["openings"]) == ("first", "30", "12")
    assert 0 <= int(row["in the front"]) <= 12
    assert all(0 <= float(row[f"weight after {mark}"]) <= 1 for mark in (10, 20, 24))


def test_a_sampler_that_cannot_weigh_is_said(results, source, tmp_path):
    blocks = learnt(told(results, source, tmp_path / "new", "random"))
    assert next(block for block in blocks if isinstance(block, Table)).columns[-1] == "in the front"
    assert blocks[-1] == Text("Sampler random took openings from earlier sweeps and nothing more.")


def test_what_was_kept_may_be_gone(results, source, tmp_path):
    found = told(results, source, tmp_path / "new")
    (found.folder / "warm_start.json").unlink()
    assert "warm_start.json is missing" in as_markdown(learnt(found))


def test_without_earlier_sweeps_nothing_is_said(results):
    assert learnt(results) == []
    assert "earlier sweeps" not in as_markdown(report(results))


def test_a_sweep_that_has_just_begun_has_no_weights(source, tmp_path):
    found = load_results(make_sweep(tmp_path / "begun", search=0))
    begun = told(found, source, tmp_path / "new")
    assert next(block for block in learnt(replace(begun, rows=())) if isinstance(block, Table)).rows[0][2] == "0"
