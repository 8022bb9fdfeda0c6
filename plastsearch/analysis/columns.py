"""The table of all runs that a report leaves as CSV and Parquet: its columns, their types, and what each means.

One description for each column, here; the Parquet file carries them, docs/report.md lists them, and a test compares.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.spec.config import content_id
from plastsearch.spec.constraints import METRICS

Kind = Literal["int", "float", "bool", "text"]
Value = int | float | bool | str | None
SCHEMA_VERSION = 1
MOST = 1e300  # of a number that a column of numbers holds; a larger one was written by no sampler


@dataclass(frozen=True)
class Column:
    """One column with its values, a line for each run; None where a run has nothing to say."""

    name: str
    kind: Kind
    words: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Fixed:
    """A column that every table has."""

    kind: Kind
    words: str
    value: Callable[[Results, TrialRow], Value]


def _trial(row: TrialRow) -> bool:
    return row.record.role in ("search", "control")


FIXED: dict[str, Fixed] = {
    "trial": Fixed("int", "number of the run in its sweep", lambda _, row: row.number),
    "id": Fixed("text", "hash of its whole configuration", lambda _, row: row.record.id),
    "configuration": Fixed(
        "text", "hash of its configuration without seed and data: equal ones join sweeps",
        lambda _, row: configuration(row.record.config),
    ),
    "role": Fixed("text", "search, control, replicate or finalist", lambda _, row: row.record.role),
    "control": Fixed("text", "which control it is; empty for others", lambda _, row: row.record.control),
    "of": Fixed("int", "the trial it repeats, or answers to", lambda _, row: row.record.of),
    "seed": Fixed("int", "seed of the run", lambda _, row: _whole(row.record.config.get("seed"))),
    "state": Fixed("text", "done, reused, halted, failed, running or proposed", lambda _, row: row.record.state),
    "in_front": Fixed("bool", "whether it is a member of the Pareto front", lambda _, row: row.in_front),
    "runs": Fixed("int", "with how many seeds the trial ran; of trials alone",
                  lambda _, row: len(row.runs) if _trial(row) else None),
    "membership": Fixed("float", "how likely it is a member of the front, 0 to 1; empty while nothing ran twice",
                        lambda _, row: row.membership),
    "seconds": Fixed("float", "wall time as the driver measured it", lambda _, row: row.record.seconds),
    "gpu_seconds": Fixed("float", "GPU time it is charged with, lost attempts included",
                         lambda _, row: row.record.gpu_seconds),
    "method": Fixed("text", "what is done to the network", lambda _, row: _text(row.record.config.get("method"))),
    "corpus": Fixed("text", "the corpus it learnt from", lambda _, row: corpus(row.record.config)),
    "device": Fixed("text", "device that its costs were timed on", lambda _, row: device(row)),
    "source": Fixed("text", "SWEEP:TRIAL that it came from, in a merged sweep",
                    lambda _, row: row.record.source.words if row.record.source is not None else None),
    "reason": Fixed("text", "why it failed or was halted", lambda _, row: row.record.reason),
}  # fmt: skip
# Metrics that trials report beside those that can be objectives.
MORE_METRICS = {
    "dev_eer_tie_safe": "EER on search-dev with equal scores crossed in one step, percent",
    "params_baseline": "parameters of the untouched network",
    "step_ratio": "time of a whole step against full fine-tuning of the ungrown network",
    "backward_cv": "how far timings of the backward pass scatter, as a share of their mean",
    "bad_clips": "train and search-dev clips or lines that could not be used",
    "eval_bad_clips": "evaluation clips or lines that could not be used",
    "waited_seconds": "seconds waited for stages that another trial was computing",
    "reused_seconds": "seconds that stages from the store had cost once",
    "reused_gpu_seconds": "GPU seconds that stages from the store had cost once",
    "steps_total": "optimiser steps over all stages",
    "eval_min_tdcf": "minimum tandem detection cost on the evaluation split",
}
UNKNOWN = "a metric of another version of plastsearch"


def columns(results: Results) -> list[Column]:
    """Fixed columns, parameters as sampled, means over seeds, metrics as measured."""
    rows = results.every
    found = [
        Column(name, one.kind, one.words, tuple(one.value(results, row) for row in rows)) for name, one in FIXED.items()
    ]
    for name in dict.fromkeys(name for row in rows for name in row.record.params):
        kind, values = _plain([row.record.params.get(name) for row in rows])
        found.append(Column(f"params.{name}", kind, params_words(name), values))
    if results.repeated:
        for at, one in enumerate(results.objectives):
            averages = tuple(_finite(row.values[at]) if _trial(row) else None for row in rows)
            found.append(Column(f"mean.{one.metric}", "float", mean_words(one.metric), averages))
    for name in dict.fromkeys(name for row in rows for name in row.metrics):
        own = tuple(_finite(value) if (value := row.metrics.get(name)) is not None else None for row in rows)
        found.append(Column(metric_column(name), "float", metric_words(name), own))
    return found


def metric_column(metric: str) -> str:
    """Its column: its name, but where a fixed column has that."""
    return f"trial_{metric}" if metric in FIXED else metric


def metric_words(metric: str) -> str:
    """What a metric means."""
    if metric in FIXED:
        return f"{METRICS[metric].meaning}, as it measured itself" if metric in METRICS else UNKNOWN
    if metric in MORE_METRICS:
        return MORE_METRICS[metric]
    of_dev = metric.replace("eval_", "dev_", 1)
    if metric.startswith("eval_") and (of_dev in METRICS or of_dev in MORE_METRICS):
        words = METRICS[of_dev].meaning if of_dev in METRICS else MORE_METRICS[of_dev]
        return f"on the evaluation split, finalists alone: {words.replace(' on search-dev', '')}"
    return METRICS[metric].meaning if metric in METRICS else UNKNOWN


def params_words(name: str) -> str:
    """What a column of a parameter holds."""
    return f"value of `{name}` in the space, as it was chosen; several are set apart by spaces"


def mean_words(metric: str) -> str:
    """What a column of means holds."""
    return f"mean of `{metric}` over the trial's seeds, as if all had run with the same ones"


def configuration(config: dict[str, JsonValue]) -> str:
    """A hash of a configuration without its seed and its data."""
    return content_id({key: value for key, value in config.items() if key not in ("seed", "data")})


def corpus(config: dict[str, JsonValue]) -> str | None:
    """The corpus of a configuration, with its variant."""
    data = config.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("corpus"), str):
        return None
    variant = data.get("variant")
    return f"{data['corpus']}/{variant}" if isinstance(variant, str) else str(data["corpus"])


def device(row: TrialRow) -> str | None:
    """The device that a run was timed on."""
    found = row.record.details.get("device")
    name = found.get("name") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: JsonValue) -> int | None:
    return value if isinstance(value, int) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(values: Sequence[JsonValue]) -> tuple[Kind, tuple[Value, ...]]:
    """One type for a whole column; text where values have several, or are lists."""
    present = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in present):
        return "bool", tuple(value if isinstance(value, bool) else None for value in values)
    if all(isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 for value in present):
        return "int", tuple(value if isinstance(value, int) else None for value in values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST for value in present):
        return "float", tuple(float(value) if isinstance(value, int | float) else None for value in values)
    return "text", tuple(None if value is None else _words(value) for value in values)


def _words(value: JsonValue) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
