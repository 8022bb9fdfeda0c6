"""Where earlier trials are read from: a sweep's folder, a table, an experiment of MLflow. Search-dev metrics alone.

Nothing here knows the present space: what a trial was is said as settings of a TrialConfig, by dotted path, or as the
flat parameters of a table. Whether that fits: warm_start.py.
"""

import csv
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from plastsearch.errors import PlastsearchError
from plastsearch.spec.coherence import paths, value_at
from plastsearch.spec.config import TrialConfig
from plastsearch.tracking.events import Opened
from plastsearch.tracking.journal import FILE, read
from plastsearch.tracking.ranking import ranking_of
from plastsearch.tracking.records import TrialRecord, trials

MLFLOW = "mlflow:"
_EVALUATION = "eval_"  # what finalists measured on the evaluation split; nothing that selects may read it
_FLAT = "params."


@dataclass(frozen=True)
class Told:
    """A finished trial: its settings by path, or its flat parameters by name, and what was measured."""

    settings: Mapping[str, JsonValue]
    metrics: Mapping[str, float]
    flat: bool = False


@dataclass(frozen=True)
class ToldSweep:
    """What one sweep found."""

    name: str
    trials: list[Told]
    baseline: Mapping[str, float] = field(default_factory=dict)  # of its control, for limits relative to it
    without_result: int = 0  # search trials that failed, were halted, or lack what their own sweep asked for


def read_source(source: str, keys: Collection[str], metrics: Sequence[str]) -> list[ToldSweep]:
    """The sweeps of one source; of each trial the settings under these keys and these metrics."""
    if source.startswith(MLFLOW):
        from plastsearch.tracking.mlflow_history import sweeps_of

        return [_told(name, records, {}, keys, metrics) for name, records in sweeps_of(source)]
    if "://" in source:
        raise PlastsearchError(
            f"{source}: not read from there; fetch it with `plastsearch store pull` and name the folder"
        )
    path = Path(source)
    if path.is_dir():
        events = read(path)
        records = list(trials(events).values())
        head = next((event.spec for event in events if isinstance(event, Opened)), {})
        return [_told(path.name, records, head, keys, metrics)]
    if path.suffix.lower() in (".parquet", ".pq", ".csv") and path.is_file():
        return [_table(path, metrics)]
    if path.suffix.lower() in (".parquet", ".pq", ".csv") or not path.exists():
        raise PlastsearchError(f"{source}: nothing is there; name a sweep's folder, a table of trials or {MLFLOW}…")
    raise PlastsearchError(f"{source}: neither a sweep's folder (with {FILE}) nor a .parquet or .csv table of trials")


def _told(
    name: str,
    records: Sequence[TrialRecord],
    spec: Mapping[str, JsonValue],
    keys: Collection[str],
    metrics: Sequence[str],
) -> ToldSweep:
    """Search trials by their means over seeds; controls answer to a winner and finalists to the evaluation split."""
    # Means are asked of what this sweep wants; the other one may have wanted something else.
    asked: list[JsonValue] = [{"metric": metric} for metric in metrics]
    ranking = ranking_of({**spec, "objectives": asked}, records)
    found, without = [], 0
    for record in records:
        if record.role != "search" or record.state == "reused":
            continue
        try:
            settings = _settings(record.trial_config, keys)
        except ValidationError:  # of a program that had other settings
            without += 1
            continue
        if record.state == "done":
            found.append(Told(settings, _allowed(ranking.means(record), metrics)))
        else:
            without += 1
    return ToldSweep(name, found, _allowed(ranking.baseline, metrics), without)


def _settings(config: TrialConfig, keys: Collection[str]) -> dict[str, JsonValue]:
    growth = config.growth()
    found: dict[str, JsonValue] = {key: value_at(config, key) for key in {*keys, "method"}}
    found["layers"] = [*growth]
    if not growth or config.rings():  # nothing grown has no width, nor has a ring
        found.pop("neurons", None)
    return found


def _allowed(metrics: Mapping[str, float], wanted: Sequence[str]) -> dict[str, float]:
    """Only what was asked for, and never anything of the evaluation split."""
    return {name: metrics[name] for name in wanted if name in metrics and not name.startswith(_EVALUATION)}


def _table(path: Path, metrics: Sequence[str]) -> ToldSweep:
    """A table of trials: settings by path or flat parameters as `params.<name>`, one row for each run."""
    rows = _rows(path)
    columns = set().union(*rows) if rows else set()
    flat = any(name.startswith(_FLAT) for name in columns)
    known = [name for name in columns if name.startswith(_FLAT)] if flat else sorted(columns & set(paths()) - {"seed"})
    if not known:
        raise PlastsearchError(
            f"{path}: no column says what a trial was; a table of trials has `params.<name>`, as trials.csv of a "
            "report, or settings such as `layers` and `neurons`"
        )
    baseline: dict[str, float] = {}
    groups: dict[str, tuple[dict[str, JsonValue], list[dict[str, float]]]] = {}
    without = 0
    for row in rows:
        measured = {name: float(row[name]) for name in metrics if _is_number(row.get(name))}
        measured = _allowed(measured, metrics)
        settings = _row_settings(row, known, flat=flat)
        if row.get("control") == "baseline" or (not flat and not settings.get("layers", True)):
            baseline = measured
        elif row.get("role", "search") != "search" or row.get("control"):
            continue
        elif row.get("state", "done") != "done":
            without += row.get("state") != "reused"
        else:  # rows that differ in their seed alone are runs of one trial
            groups.setdefault(json.dumps(settings, sort_keys=True), (settings, []))[1].append(measured)
    found = [Told(settings, _means(runs), flat) for settings, runs in groups.values()]
    return ToldSweep(path.stem, found, baseline, without)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                return [
                    {key: _typed(value) for key, value in row.items() if isinstance(value, str) and value}
                    for row in csv.DictReader(file)  # what stands beyond the named columns is a list
                ]
        import pyarrow.parquet as pq

        rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
        return [{key: value for key, value in row.items() if value is not None} for row in rows]
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's own are ValueErrors
        raise PlastsearchError(f"{path}: cannot be read as a table ({error})") from None


def _typed(text: str) -> JsonValue:
    """A cell of a CSV: the number or truth value it spells, else itself."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:  # of a number with thousands of digits, too
            continue
    return text


def _row_settings(row: Mapping[str, Any], known: Sequence[str], *, flat: bool) -> dict[str, JsonValue]:
    if flat:
        return {name.removeprefix(_FLAT): row[name] for name in known if name in row}
    found = {name: row[name] for name in known if name in row}
    layers = found.get("layers")
    if isinstance(layers, str):  # as the recorded tables of benchmarks/ write it
        found["layers"] = [name for name in layers.replace(" ", ",").split(",") if name]
    return found


def _means(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = set(runs[0]).intersection(*runs)
    return {name: sum(run[name] for run in runs) / len(runs) for name in sorted(names)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
