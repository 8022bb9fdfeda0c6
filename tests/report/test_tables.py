"""The table of all runs: CSV and Parquet say the same, every column is described, in the file as in docs/report.md."""

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plastsearch.analysis.columns import FIXED, UNKNOWN, columns
from plastsearch.report.tables import as_csv, schema_table, trials_csv, write_parquet

DOCS = Path(__file__).parents[2] / "docs" / "report.md"


@pytest.fixture(scope="module")
def written(noisy, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "trials.parquet"
    write_parquet(columns(noisy), path, noisy.name)
    return pq.read_table(path)


def test_every_run_is_there_once(noisy, written):
    lines = (noisy.folder / "trials.jsonl").read_text().splitlines()
    proposed = [json.loads(line)["trial"] for line in lines if '"propose"' in line]
    assert sorted(written["trial"].to_pylist()) == sorted(proposed)


def test_csv_and_parquet_say_the_same(noisy, written):
    rows = list(csv.DictReader(trials_csv(noisy).splitlines()))
    assert list(rows[0]) == written.column_names
    assert len(set(written.column_names)) == len(written.column_names)
    for row, other in zip(rows, written.to_pylist(), strict=True):
        for name, value in other.items():
            assert row[name] == ("" if value is None else str(value)), name


def test_columns_have_types(written):
    types = {name: written.schema.field(name).type for name in written.column_names}
    assert types["trial"] == pa.int64()
    assert types["in_front"] == pa.bool_()
    assert types["dev_eer"] == types["mean.dev_eer"] == pa.float64()
    assert types["params.neurons"] == pa.int64()
    assert types["params.layers"] == types["params.criterion"] == pa.string()


def test_metrics_are_those_that_were_measured(noisy, written):
    by_number = {row.number: row for row in noisy.every}
    for line in written.to_pylist():
        assert line["dev_eer"] == by_number[line["trial"]].metrics.get("dev_eer")
        assert line["eval_eer"] == by_number[line["trial"]].metrics.get("eval_eer")


def test_each_column_is_described_and_the_docs_have_the_same_words(written):
    documented = dict(re.findall(r"(?m)^\| `([^`]+)` \| [^|]+ \| (.+) \|$", DOCS.read_text().split("## Columns of")[1]))
    for field in written.schema:
        said = field.metadata[b"description"].decode()
        assert said != UNKNOWN
        name = field.name
        if name.startswith("params."):
            assert said == documented["params.NAME"].replace("NAME", name.removeprefix("params."))
        elif name.startswith("mean."):
            assert said == documented["mean.METRIC"].replace("METRIC", name.removeprefix("mean."))
        else:
            assert said == documented[name]
    assert written.schema.metadata[b"plastsearch.schema"] == b"1"


def test_the_docs_list_what_the_code_knows_and_nothing_else():
    lines = [line for line in DOCS.read_text().split("## Columns of")[1].splitlines() if line.startswith("| `")]
    assert lines == [f"| `{name}` | {kind} | {words} |" for name, kind, words in schema_table()]


def test_a_parameter_of_several_types_becomes_text(results):
    row, *rest = results.rows
    mixed = replace(row, record=replace(row.record, params={"x": [1, 2]}))
    other = replace(rest[0], record=replace(rest[0].record, params={"x": 3}))
    found = next(one for one in columns(replace(results, rows=(mixed, other), finalists=())) if one.name == "params.x")
    assert (found.kind, found.values) == ("text", ("1 2", "3"))


def test_what_is_no_number_is_empty_and_never_zero(results):
    row = results.rows[0]
    lost = replace(row, record=replace(row.record, metrics={"dev_eer": math.nan, "turnover": math.inf}))
    found = {one.name: one.values for one in columns(replace(results, rows=(lost,), finalists=()))}
    assert (found["dev_eer"], found["turnover"]) == ((None,), (None,))


def test_hostile_words_stay_in_their_cell(results):
    row = results.rows[0]
    evil = 'a,b"c\nd'
    found = columns(replace(results, rows=(replace(row, record=replace(row.record, reason=evil)),), finalists=()))
    (line,) = csv.DictReader(as_csv(found).splitlines(keepends=True))
    assert line["reason"] == evil


def test_no_metric_hides_a_fixed_column(results):
    names = [one.name for one in columns(results)]
    assert set(FIXED) <= set(names)
    assert "trial_seconds" in names  # what the trial measured, beside what the driver did
