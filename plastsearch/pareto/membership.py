"""How likely each row belongs to the front, where values are means of a few noisy runs. No trials here.

Of many rows the one that looks best is also the luckiest. So true values are drawn from what is known after the fact:
each row's mean, pulled towards what rows of equal cost have, the more the fewer runs it rests on (empirical Bayes).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plastsearch.pareto.front import Goal, front

DRAWS = 400
CERTAIN = 0.9
FAR = 4.0  # standard deviations
LEAST = 0.1  # of one run's variance: a spread between rows that was found to be none may still be there
Floats = NDArray[np.float64]
Runs = NDArray[np.int64] | Floats  # or what they amount to, where a run is not all that is luck


def posterior(means: Floats, variance: float, runs: Runs, costs: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each row's true value; `costs` are the columns without noise."""
    if variance <= 0:
        return means, np.zeros_like(means)
    expected = _expected(means, costs, runs)
    luck = variance / runs
    # What rows differ by beyond luck and cost.
    freedom = max(1, len(means) - 1 - costs.shape[1])
    beyond = float(((means - expected) ** 2).sum()) / freedom - float(luck.mean())
    spread = max(beyond, LEAST * variance)
    trust = spread / (spread + luck)
    return expected + trust * (means - expected), np.sqrt(trust * luck)


def membership(
    values: ArrayLike, variances: Sequence[float], runs: Sequence[int], goals: Sequence[Goal], seed: int = 0
) -> Floats:
    """Probability of each row to be in the front of the true values; `variances` of a single run, by column."""
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(goals))
    if not len(points):
        return np.zeros(0)
    points = points * np.array([-1.0 if goal == "max" else 1.0 for goal in goals])
    counts = np.asarray(runs, dtype=np.int64)
    least: list[Goal] = ["min"] * len(goals)
    exact = [at for at, variance in enumerate(variances) if variance <= 0]
    costs = points[:, exact]
    centre, error = np.empty_like(points), np.empty_like(points)
    for at, variance in enumerate(variances):
        centre[:, at], error[:, at] = posterior(points[:, at], variance, counts, costs)
    if not error.any():
        return front(points, least).astype(np.float64)
    open_ = ~_hopeless(centre, error)
    rng = np.random.default_rng(seed)
    inside = np.zeros(int(open_.sum()))
    for _ in range(DRAWS):
        inside += front(centre[open_] + error[open_] * rng.standard_normal((len(inside), len(goals))), least)
    shares = np.zeros(len(points))
    shares[open_] = inside / DRAWS
    return shares


def _hopeless(centre: Floats, error: Floats) -> NDArray[np.bool_]:
    """Rows that some other beats even if it has bad luck and they have good: of thousands, most."""
    worst, best = centre + FAR * error, centre - FAR * error
    beaten = np.zeros(len(centre), dtype=np.bool_)
    for row in worst[front(worst, ["min"] * centre.shape[1])]:
        beaten |= (row <= best).all(axis=1) & (row < best).any(axis=1)
    return beaten


def _expected(means: Floats, costs: Floats, runs: Runs) -> Floats:
    """What a row of that cost has on average: a line in the ranks of the costs, rows of more runs counting for more."""
    # By rank, for costs span decades; and only with rows enough to tell a slope from chance.
    columns = [np.ones(len(means))]
    if len(means) >= 8:
        ranks = [np.unique(column, return_inverse=True)[1].astype(np.float64) for column in costs.T]
        columns += [rank / rank.max() for rank in ranks if rank.max() > 0]
    design = np.stack(columns, axis=1) * np.sqrt(runs)[:, None]
    found = np.linalg.lstsq(design, means * np.sqrt(runs), rcond=None)[0]
    return np.asarray(np.stack(columns, axis=1) @ found)
