"""How far results differ by configuration, and how far by luck: variance components and reliability. No trials here.

Every value is a configuration's with one seed. Seeds are common to all, so the model is additive: configuration +
seed + rest. What a seed does to all alike does not change who is ahead; the rest does. Tables may have gaps: most
configurations run with one seed only, and a few with several say how large the rest is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One value: of which configuration, with which seed; `counted`: one of those whose spread is asked for."""

    configuration: int
    seed: int
    value: float
    counted: bool = True  # a control tells how seeds scatter, but is not one of the configurations searched


@dataclass(frozen=True)
class Fit:
    """The additive model of a table: levels at the mean of all seeds, what each seed adds, and what is left."""

    levels: dict[int, float]
    seeds: dict[int, float]  # effects; they add up to zero
    rest: float | None  # variance that neither explains; None: no configuration ran with a second seed
    freedom: int  # degrees of freedom of the rest
    weights: Floats  # [configurations, seeds]: the share of each seed in a configuration's runs
    seed_covariance: Floats  # of the effects, in units of the rest

    def luck(self, at: Sequence[int]) -> float:
        """Expected variance of these levels if all configurations were equal, in units of the rest."""
        # Covariance of levels: 1/runs of their own, and what comes in with the estimates of seeds.
        weights = self.weights[list(at)]
        own = 1 / (weights > 0).sum(axis=1)
        return _spread(own, weights, self.seed_covariance)


@dataclass(frozen=True)
class Noise:
    """What one metric's results say of configurations and seeds; standard deviations, in the metric's unit."""

    configurations: int
    runs: int
    between: float  # standard deviation of configurations' true levels
    rest: float  # of one run of a configuration, seeds common to all
    seeds: float  # of what a seed does to all configurations alike
    reliability: float  # share of the variance between single runs (common seed) that is the configurations'
    low: float
    high: float
    unpaired: float  # the same where every run has a seed of its own
    freedom: int


def fit(table: Sequence[Measured]) -> Fit:
    """The additive model, by what is most likely; rows that count are random draws, others (controls) are not.

    Whom a search repeats it chose by the first run, whose luck was good then. By the runs of those alone the first seed
    looks easy, and all that ran once look bad by the difference. Beside rows that were not chosen, as draws of one
    population, that is no riddle: whatever the choice went by is in the table (Little and Rubin, 2002, 6.2).
    """
    names = {name: at for at, name in enumerate(dict.fromkeys(one.configuration for one in table))}
    seeds = {seed: at for at, seed in enumerate(sorted({one.seed for one in table}))}
    ran, values = np.zeros((len(names), len(seeds))), np.zeros((len(names), len(seeds)))
    random = np.zeros(len(names), dtype=np.bool_)
    for one in table:
        ran[names[one.configuration], seeds[one.seed]] = 1.0
        values[names[one.configuration], seeds[one.seed]] = one.value
        random[names[one.configuration]] = one.counted
    runs = ran.sum(axis=1)
    weights = ran / runs[:, None]
    means = values.sum(axis=1) / runs
    # Without the other rows: as many degrees of freedom as runs tell of the rest for certain.
    freedom = len(table) - len(names) - int(np.linalg.matrix_rank(_normal(ran, 1 / runs), tol=1e-9, hermitian=True))
    if freedom > 0:
        effects, rest, inverse = _likeliest(ran, values, runs, random)
    else:
        effects, rest, inverse, _ = _alone(ran, values, 1 / runs)
    levels = means - weights @ effects
    return Fit(
        dict(zip(names, levels.tolist(), strict=True)),
        dict(zip(seeds, effects.tolist(), strict=True)),
        max(0.0, rest) if freedom > 0 else None,  # rounding may leave less than nothing of squares
        freedom,
        weights,
        inverse,
    )


def _normal(ran: Floats, pulls: Floats) -> Floats:
    """Normal equations of seeds, configurations eliminated: left is as little as there are seeds, for any number."""
    return np.asarray(np.diag(ran.sum(axis=0)) - (ran * pulls[:, None]).T @ ran)


def _alone(
    ran: Floats, values: Floats, pulls: Floats, once: Floats | None = None, pull: float = 1.0
) -> tuple[Floats, float, Floats, float]:
    """Effects of seeds that add up to zero, squares that are left, and the effects' covariance in units of the rest.

    `once`: of rows that ran once, by seed, how many, their sum and sum of squares, so that thousands cost nothing.
    """
    normal, right = _normal(ran, pulls), values.sum(axis=0) - (ran * pulls[:, None]).T @ values.sum(axis=1)
    if once is not None:
        normal, right = normal + (1 - pull) * np.diag(once[0]), right + (1 - pull) * once[1]
    inverse = np.linalg.pinv(normal, rcond=1e-9, hermitian=True)
    raw = inverse @ right
    left = (values - raw) * ran
    squares = float((left**2).sum() - (pulls * left.sum(axis=1) ** 2).sum())
    if once is not None:
        squares += (1 - pull) * float((once[2] - 2 * raw * once[1] + raw**2 * once[0]).sum())
    centre = np.eye(len(raw)) - 1 / len(raw)
    return raw - raw.mean(), squares, np.asarray(centre @ inverse @ centre), float(np.linalg.slogdet(normal)[1])


def _likeliest(ran: Floats, values: Floats, runs: Floats, random: NDArray[np.bool_]) -> tuple[Floats, float, Floats]:
    """Restricted maximum likelihood over one number: the variance between configurations, in units of the rest."""
    from scipy.optimize import minimize_scalar  # loads in 0.2 s, with which no command need begin

    whole = 1 / runs  # of a row that is no draw: its level is whatever its runs say
    fixed = _alone(ran, values, whole)
    freedom = ran.sum() - len(runs) - np.linalg.matrix_rank(_normal(ran, whole), tol=1e-9, hermitian=True)
    if random.sum() < 3 or fixed[1] <= 1e-12 * float((values**2).sum()):
        return fixed[0], fixed[1] / freedom, fixed[2]
    known = ran.sum() - ran.shape[1] - (~random).sum()
    single = random & (runs == 1)
    once = np.stack([part[single].sum(axis=0) for part in (ran, values, values**2)])
    ran, values, runs, random = (part[~single] for part in (ran, values, runs, random))

    def at(ratio: float) -> tuple[Floats, float, Floats, float]:
        pulls = np.where(random, ratio / (1 + ratio * runs), 1 / runs)
        return _alone(ran, values, pulls, once, ratio / (1 + ratio))

    def unlikely(log_ratio: float) -> float:
        _, squares, _, size = at(math.exp(log_ratio))
        spread = np.log1p(math.exp(log_ratio) * runs[random]).sum() + math.log1p(math.exp(log_ratio)) * once[0].sum()
        return float(known * math.log(squares) + spread + size)

    found = minimize_scalar(unlikely, bounds=(math.log(1e-3), math.log(1e5)), method="bounded", options={"xatol": 1e-6})
    effects, squares, covariance, _ = at(math.exp(float(found.x)))
    return effects, squares / known, covariance


def noise(table: Sequence[Measured]) -> Noise | None:
    """Variance components and reliability; None while no configuration has run twice, or fewer than three at all."""
    counted = {one.configuration for one in table if one.counted}
    if len(counted) < 3:
        return None
    model = fit(table)
    if model.rest is None:
        return None
    at = [n for n, name in enumerate(model.levels) if name in counted]
    levels = np.array(list(model.levels.values()))[at]
    observed = float(levels.var(ddof=1))
    # Of the observed variance of levels, this many times the rest is luck: 1/r where all ran with r seeds.
    luck = model.luck(at)
    between = max(0.0, observed - luck * model.rest)
    effects = np.array(list(model.seeds.values()))
    of_seeds = 0.0
    if len(effects) > 1:
        own = np.zeros(len(effects))
        luck_of_seeds = _spread(own, np.eye(len(effects)), model.seed_covariance)
        of_seeds = max(0.0, float(effects.var(ddof=1)) - luck_of_seeds * model.rest)
    low, high = _interval(observed, model.rest, luck, len(at) - 1, model.freedom)
    return Noise(
        configurations=len(at),
        runs=len(table),
        between=math.sqrt(between),
        rest=math.sqrt(model.rest),
        seeds=math.sqrt(of_seeds),
        reliability=_share(between, model.rest),
        low=low,
        high=high,
        unpaired=_share(between, model.rest + of_seeds),
        freedom=model.freedom,
    )


def _spread(own: Floats, weights: Floats, covariance: Floats) -> float:
    """Expected sample variance of estimates with variances `own` and what they share: weights × covariance."""
    n = len(own)
    together = weights.sum(axis=0)
    trace = own.sum() + np.einsum("is,st,it->", weights, covariance, weights)
    total = own.sum() + together @ covariance @ together
    return float(trace - total / n) / (n - 1)


def _share(between: float, rest: float) -> float:
    return between / (between + rest) if between + rest > 0 else 0.0


def _interval(observed: float, rest: float, luck: float, between_freedom: int, freedom: int) -> tuple[float, float]:
    """Limits of the reliability from the F distribution: exact where every configuration ran with the same seeds."""
    from scipy.special import fdtri  # as above

    if rest == 0:
        return (1.0, 1.0) if observed > 0 else (0.0, 0.0)
    ratio = observed / (luck * rest)
    tail = (1 - LEVEL) / 2

    def share(quantile: float) -> float:
        # The observed ratio is F-distributed around 1 + between / (luck × rest).
        odds = max(0.0, ratio / float(fdtri(between_freedom, freedom, quantile)) - 1) * luck
        return odds / (1 + odds)

    return share(1 - tail), share(tail)


def words(reliability: float) -> str:
    """What a reliability means for who trusts the ranking."""
    if reliability < 0.5:
        return "the ranking is mostly luck"
    return "the ranking is partly luck" if reliability < 0.8 else "the ranking holds"


def runs_for(reliability: float, wanted: float = 0.8) -> int | None:
    """With how many seeds means of configurations reach the wanted reliability (Spearman-Brown); None: never."""
    if reliability <= 0:
        return None
    return max(1, math.ceil(wanted * (1 - reliability) / (reliability * (1 - wanted)) - 1e-9))
