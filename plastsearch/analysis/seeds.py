"""Which metric to search by, and with how many seeds: what `plastsearch noise` measures before a search is paid for."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from plastsearch.documents import Block, Heading, Points, Table, Text
from plastsearch.pareto.foretelling import spearman
from plastsearch.pareto.noise import Noise, runs_for, words
from plastsearch.spec.constraints import METRICS
from plastsearch.tracking.records import TrialRecord
from plastsearch.tracking.replicates import noise_of

TARGET = "dev_eer"  # what a metric has to say something about: the error rate of the next seed
COMPARED = ("dev_eer", "dev_eer_smooth", "dev_auc", "dev_cllr", "dev_min_dcf", "train_loss")
WANTED = 0.8  # reliability of means
LEVEL = 0.05  # of the test that a number of seeds is planned for
MOST = 200  # seeds that are tried
LEAST = 5  # configurations, below which a correlation is not shown
CLEARLY = 0.05  # that much better another metric has to be before a person is told to change
_DRAWS = 200
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One metric over the runs: its noise, and how well one run of it foretells the error rate with another seed."""

    metric: str
    mean: float
    noise: Noise
    foretells: float | None = None  # rank correlation; None: too few configurations ran twice
    low: float | None = None
    high: float | None = None


def measure(records: Sequence[TrialRecord], seed: int = 0) -> list[Measured]:
    """Every metric that can be compared, the error rate first."""
    found = []
    for metric in COMPARED:
        known = noise_of(records, metric)
        if known is None:
            continue
        values = _grid(records, metric)
        said = foretells(values, _grid(records, TARGET), METRICS[metric].goal == "max", seed)
        found.append(Measured(metric, float(np.nanmean(values)), known, *(said or ())))
    return found


def foretells(values: Floats, target: Floats, reverse: bool, seed: int) -> tuple[float, float, float] | None:
    """Rank correlation of a metric with the target at other seeds, and its interval over configurations."""
    # Only other seeds: within one run both carry the same luck, and any noise would look like agreement.
    pairs = [(a, b) for a, b in permutations(range(values.shape[1]), 2)]
    rows = np.flatnonzero((np.isfinite(values) & np.isfinite(target)).sum(axis=1) >= 2)
    if len(rows) < LEAST:
        return None
    turned = -values if reverse else values
    rng = np.random.default_rng(seed)
    found = _agreement(turned, target, rows, pairs)
    drawn = np.array([_agreement(turned, target, rng.choice(rows, len(rows)), pairs) for _ in range(_DRAWS)])
    drawn = drawn[np.isfinite(drawn)]  # a draw of one configuration only has no ranks
    if not math.isfinite(found) or len(drawn) < _DRAWS / 2:
        return None  # a metric that is the same for all foretells nothing
    low, high = np.quantile(drawn, [0.025, 0.975])
    return found, float(low), float(high)


def _agreement(values: Floats, target: Floats, rows: NDArray[np.int64], pairs: Sequence[tuple[int, int]]) -> float:
    found = []
    for a, b in pairs:
        one, other = values[rows, a], target[rows, b]
        both = np.isfinite(one) & np.isfinite(other)
        alike = spearman(one[both], other[both]) if both.sum() >= LEAST else None
        if alike is not None:
            found.append(alike)
    return float(np.mean(found)) if found else math.nan


def _grid(records: Sequence[TrialRecord], metric: str) -> Floats:
    """Search trials × seeds, NaN where one did not run."""
    trials = {one.number: at for at, one in enumerate(one for one in records if _searched(one))}
    bases = {one.number: one.trial_config.seed for one in records if _searched(one)}
    runs = [(one, one.number if one.role == "search" else one.of) for one in records if one.state == "done"]
    placed = [(trials[of], one.trial_config.seed - bases[of], one) for one, of in runs if of in trials and of in bases]
    seeds = {seed: at for at, seed in enumerate(sorted({seed for _, seed, _ in placed}))}
    found = np.full((len(trials), len(seeds)), np.nan)
    for row, seed, one in placed:
        found[row, seeds[seed]] = one.metrics.get(metric, math.nan)
    return found


def _searched(record: TrialRecord) -> bool:
    return record.role == "search" and record.state == "done"


def seeds_to_show(points: float, rest: float, power: float) -> int | None:
    """Paired seeds with which a t-test finds a difference of that size that often; None: more than can be asked for."""
    from scipy.stats import nct, t

    if rest <= 0:
        return 2
    for count in range(2, MOST + 1):
        limit = t.ppf(1 - LEVEL / 2, count - 1)
        shift = points * math.sqrt(count) / (math.sqrt(2) * rest)
        if 1 - nct.cdf(limit, count - 1, shift) + nct.cdf(-limit, count - 1, shift) >= power:
            return count
    return None


def best(found: Sequence[Measured]) -> Measured | None:
    """The metric whose single run says most of the error rate with another seed, if clearly more than that itself."""
    known = [one for one in found if one.foretells is not None]
    own = next((one for one in known if one.metric == TARGET), None)
    top = max(known, key=lambda one: one.foretells or 0.0, default=None)
    if top is None or own is None or top.metric == TARGET:
        return own
    return top if (top.foretells or 0.0) >= (own.foretells or 0.0) + CLEARLY else own


def page(found: Sequence[Measured], points: float | None, power: float) -> list[Block]:
    """The table, and what to do about it in words."""
    head = ("metric", "mean", "configurations", "one run", "seeds", "reliability", "seeds for 0.8", "foretells EER")
    rows = tuple(_row(one) for one in found)
    note = (
        "Standard deviations in each metric's unit: of configurations' true levels; of one run, where seeds are common "
        "to all; of what a seed does to all alike. Reliability: the configurations' share of the variance between "
        "single runs, with its 95 % interval. Last column: rank correlation of one run's metric with dev_eer of other "
        "seeds, which is what a search wants to know, and its interval."
    )
    return [Heading("How noisy is this search?"), Table(head, rows, frozenset({"metric"})), Text(note),
            Points(tuple(advice(found, points, power)))]  # fmt: skip


def _row(one: Measured) -> tuple[str, ...]:
    known, needed = one.noise, runs_for(one.noise.reliability, WANTED)
    return (
        one.metric, f"{one.mean:.4g}", f"{known.between:.3g}", f"{known.rest:.3g}", f"{known.seeds:.3g}",
        f"{known.reliability:.2f} [{known.low:.2f}, {known.high:.2f}]", "never" if needed is None else str(needed),
        "–" if one.foretells is None else f"{one.foretells:.2f} [{one.low:.2f}, {one.high:.2f}]",
    )  # fmt: skip


def advice(found: Sequence[Measured], points: float | None, power: float) -> list[str]:
    """Sentences: what the error rate's ranking is worth, what to search by, how many seeds a difference takes."""
    own = next((one for one in found if one.metric == TARGET), None)
    if own is None:
        return ["Nothing can be said of dev_eer: fewer than three configurations have finished, or none ran twice."]
    known, needed = own.noise, runs_for(own.noise.reliability, WANTED)
    said = [f"By dev_eer of one run, {words(known.reliability)} ({known.reliability:.2f})."]
    if needed is None:
        said.append("No difference between configurations was found: more steps, or a space in which more differs.")
    elif needed > 1:
        said.append(f"Means of {needed} seeds would bring it to {WANTED:g}: `search: {{replicate: auto}}`.")
    top = best(found)
    if top is not None and top.metric != TARGET:
        goal = METRICS[top.metric].goal
        said.append(
            f"One run's {top.metric} says more of the next seed's dev_eer than dev_eer does ({top.foretells:.2f} "
            f"against {own.foretells:.2f}): search by it, `objectives: [{{metric: {top.metric}, goal: {goal}}}, …]`."
        )
    elif top is not None:
        said.append("No other metric says clearly more of the next seed's dev_eer: search by dev_eer.")
    size = points if points is not None else max(known.between, 0.1)
    count = seeds_to_show(size, known.rest, power)
    seeds = f"{count} common seeds each" if count is not None else f"more than {MOST} seeds each"
    said.append(f"To show a difference of {size:.2g} points of EER between two of them (power {power:g}): {seeds}.")
    return said


def as_json(found: Sequence[Measured], points: float | None, power: float) -> dict[str, JsonValue]:
    """The same for programs."""
    top = best(found)
    own = next((one for one in found if one.metric == TARGET), None)
    size = points if points is not None else (max(own.noise.between, 0.1) if own is not None else None)
    return {
        "metrics": [asdict(one) | {"seeds": runs_for(one.noise.reliability, WANTED)} for one in found],
        "objective": None if top is None else top.metric,
        "difference": size,
        "power": power,
        "seeds_to_show": None if own is None or size is None else seeds_to_show(size, own.noise.rest, power),
        "advice": list(advice(found, points, power)),
    }
