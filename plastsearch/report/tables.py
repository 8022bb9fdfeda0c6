"""The table of all runs as files for other programs: CSV, and Parquet with types and a description of every column."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from plastsearch.analysis.columns import (
    FIXED,
    MORE_METRICS,
    SCHEMA_VERSION,
    Column,
    columns,
    metric_words,
    params_words,
)
from plastsearch.analysis.results import Results
from plastsearch.files import whole_file
from plastsearch.spec.constraints import METRICS
from plastsearch.version import __version__

CSV, PARQUET = "trials.csv", "trials.parquet"


def as_csv(table: Sequence[Column]) -> str:
    """A line for each run; nothing stands for what a run has not, `True` and `False` for the rest of logic."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([one.name for one in table])
    writer.writerows(zip(*(one.values for one in table), strict=True))
    return out.getvalue()


def trials_csv(results: Results) -> str:
    """The whole table of a sweep."""
    return as_csv(columns(results))


def write_parquet(table: Sequence[Column], path: Path, of: str) -> None:
    """The same, typed; each field's metadata says what it means."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
    fields = [pa.field(one.name, types[one.kind], metadata={"description": one.words}) for one in table]
    about = {"plastsearch.schema": str(SCHEMA_VERSION), "plastsearch.version": __version__, "plastsearch.of": of}
    schema = pa.schema(fields, metadata=about)
    arrays = [pa.array(one.values, type=types[one.kind]) for one in table]
    with whole_file(path) as draft:
        pq.write_table(pa.table(arrays, schema=schema), draft)


def schema_table() -> list[tuple[str, str, str]]:
    """Name, type and meaning of every column there may be, as docs/report.md lists them."""
    found: list[tuple[str, str, str]] = [(name, one.kind, one.words) for name, one in FIXED.items()]
    found.append(("params.NAME", "as sampled", params_words("NAME")))
    found.append(
        ("mean.METRIC", "float", "mean of `METRIC` over the trial's seeds, as if all had run with the same ones")
    )
    named = [name for name in (*METRICS, *MORE_METRICS) if name not in FIXED]
    found += [(name, "float", metric_words(name)) for name in named]
    found += [(f"trial_{name}", "float", metric_words(name)) for name in METRICS if name in FIXED]
    of_eval = [f"eval_{name.removeprefix('dev_')}" for name in (*METRICS, *MORE_METRICS) if _in_eval(name)]
    return found + [(name, "float", metric_words(name)) for name in of_eval]


def _in_eval(name: str) -> bool:
    """Measures of scores; those of the networks on the way are of search-dev alone."""
    return name.startswith("dev_") and not name.endswith(("_baseline", "_grown", "_pruned"))
