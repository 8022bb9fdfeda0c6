"""What the page tells of one trial: how its configuration differs, how it learned, what fools it, its further runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from plastsearch.analysis.attacks import attacks_of
from plastsearch.analysis.results import Results
from plastsearch.analysis.rows import TrialRow
from plastsearch.files import plain

Curve = list[list[int | float | None]]
MOST_POINTS = 40  # of a trial's learning curve
ALL_POINTS = 120_000  # of all of them: thousands of trials keep fewer each
WHOLE = frozenset({"neurons"})  # settings whose value may be a mapping, and is set as a whole


@dataclass(frozen=True)
class Again:
    """A further run of a trial: with another seed in the search, or as a finalist."""

    trial: int
    seed: int | None
    state: str
    values: list[int | float | None]  # the objectives
    evaluation: float | None = None  # EER on the evaluation split, of finalists alone


@dataclass(frozen=True)
class Details:
    """One entry for each trial, in the order of the columns."""

    base: dict[str, JsonValue]  # dotted path → value, of the space's base
    changes: list[dict[str, JsonValue]]  # what of it a trial changes
    stages: list[str]
    curves: list[Curve]  # stages, steps, dev EERs, training losses
    attacks: list[str]
    per_attack: list[list[float | None]]
    again: dict[int, list[Again]]  # place → runs with further seeds
    finalists: dict[int, list[Again]]
    reason: dict[int, str]
    seconds: list[int | float | None]
    warnings: dict[int, list[str]]


def details(results: Results, base: Mapping[str, JsonValue]) -> Details:
    """What can be told of each trial."""
    rows = results.rows
    flat = flattened(base)
    most = max(8, min(MOST_POINTS, ALL_POINTS // max(1, len(rows))))
    stages = list(dict.fromkeys(one.stage for row in rows for one in row.record.history))
    attacks = sorted({name for row in rows for name in attacks_of(row, "search_dev")})
    places = {row.number: at for at, row in enumerate(rows)}
    return Details(
        base=flat,
        changes=[changes(row.record.config, flat) for row in rows],
        stages=stages,
        curves=[_curve(row, stages, most) for row in rows],
        attacks=attacks,
        per_attack=[_per_attack(row, attacks) for row in rows],
        again={at: runs for at, row in enumerate(rows) if (runs := [_again(run) for run in (*row.again, *row.lost)])},
        finalists={
            places[one.of]: [_again(run, evaluation=True) for run in one.rows]
            for one in results.finalists
            if one.of in places
        },
        reason={at: row.record.reason for at, row in enumerate(rows) if row.record.reason},
        seconds=[plain_number(round(row.record.seconds, 1)) for row in rows],
        warnings={at: said for at, row in enumerate(rows) if (said := _warnings(row))},
    )  # fmt: skip


def plain_number(value: float | None) -> int | float | None:
    """Six digits of a number, whole numbers whole; nothing for one that is none."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")


def flattened(config: Mapping[str, JsonValue], above: str = "") -> dict[str, JsonValue]:
    """Dotted path → value, as `--set` takes them."""
    found: dict[str, JsonValue] = {}
    for key, value in config.items():
        path = f"{above}{key}"
        if isinstance(value, dict) and path not in WHOLE:
            found |= flattened(value, f"{path}.")
        else:
            found[path] = value
    return found


def changes(config: Mapping[str, JsonValue], base: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What to set in the base to have this configuration."""
    missing = object()
    found = {path: value for path, value in flattened(config).items() if base.get(path, missing) != value}
    return cast("dict[str, JsonValue]", plain(found))  # a journal of others may hold numbers that JSON knows not


def _curve(row: TrialRow, stages: Sequence[str], most: int) -> Curve:
    # of an attempt that was tried again only the last
    seen = [one for one in row.record.history if one.attempt == row.record.attempts and one.step]
    seen = [one for one in seen if "dev_eer" in one.metrics or "train_loss" in one.metrics]
    # What a stage ends with is told again once its best state is back: the last word counts.
    seen = list({(one.stage, one.step): one for one in seen}.values())
    if len(seen) > most:  # evenly, first and last among them
        seen = [seen[round(at * (len(seen) - 1) / (most - 1))] for at in range(most)]
    return [
        [stages.index(one.stage) for one in seen],
        [one.step for one in seen],
        [_rounded(one.metrics.get("dev_eer"), 2) for one in seen],
        [_rounded(one.metrics.get("train_loss"), 3) for one in seen],
    ]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)


def _warnings(row: TrialRow) -> list[str]:
    return [str(text) for text in row.record.details.get("warnings") or ()]


def _per_attack(row: TrialRow, attacks: Sequence[str]) -> list[float | None]:
    known = attacks_of(row, "search_dev")
    return [_rounded(known.get(name), 2) for name in attacks] if known else []


def _again(run: TrialRow, evaluation: bool = False) -> Again:
    done = run.record.state == "done"
    values = [plain_number(value) if done else None for value in run.values]
    held = plain_number(run.metrics.get("eval_eer")) if evaluation and done else None
    return Again(run.number, run.record.seed, run.record.state, values, held)
