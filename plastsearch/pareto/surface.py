"""What a sweep's noisy trials say of points anywhere in its space: Gaussian processes over parameters. No trials here.

Neighbours vouch for each other: a trial that looks better than all around it was most likely lucky, and a point that
nobody tried may be likely to be good. How far each parameter reaches, and how much of a value is luck, is what the
values make most likely, held to moderate guesses (Rasmussen and Williams, Gaussian Processes for Machine Learning, 5).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plastsearch.pareto.front import rank

Floats = NDArray[np.float64]

MOST = 300  # trials that a model is made of: its cost grows with the cube
_PULLS = (0.01, 0.03, 0.1, 0.25, 0.6, 1.5, 4.0)  # of a parameter: how much its whole range sets two points apart
_LUCK = (0.001, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)  # shares of the variance
_TOGETHER = 3.0  # what all parameters together pull at first, as if each mattered alike
_FIRM = 1.5  # standard deviation of the guess about a pull, in logarithms
_ROUNDS = 3
_DECADE = 10.0  # values that span more, and are positive, are modelled by their logarithms


@dataclass(frozen=True)
class Column:
    """What the numbers in one column of parameters mean: places of labels, or numbers of a range."""

    labels: int = 0
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def apart(self, one: Floats, other: Floats) -> Floats:
        """How far values lie from each other, 0 to 1; one that does not count (NaN) lies apart from all that do."""
        if self.labels:
            found = (one[:, None] != other[None, :]).astype(np.float64)
        else:
            low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
            first, second = (np.log(values) if self.log else values for values in (one, other))
            found = np.abs(first[:, None] - second[None, :]) / ((high - low) or 1.0)
        absent, lacking = np.isnan(one)[:, None], np.isnan(other)[None, :]
        return np.where(absent & lacking, 0.0, np.where(absent | lacking, 1.0, found))


def heard(losses: Floats) -> NDArray[np.int64]:
    """Which trials a model is made of: all, or the better ones and as many of the others, from first to last."""
    if len(losses) <= MOST:
        return np.arange(len(losses))
    order = np.argsort(rank(losses, ["min"] * losses.shape[1]), kind="stable")
    others = np.sort(order[MOST // 2 :])
    spread = others[np.linspace(0, len(others) - 1, MOST - MOST // 2).round().astype(int)]
    return np.sort(np.append(order[: MOST // 2], spread))


class Smooth:
    """A model of one column of values over rows of parameters."""

    def __init__(self, columns: Sequence[Column], rows: Floats, values: Floats) -> None:
        self._columns = columns
        self._rows = rows
        self._log = bool(values.min() > 0 and values.max() > _DECADE * values.min())
        values = np.log(values) if self._log else values
        self._level, self._scale = float(values.mean()), float(values.std())
        self._found = (values - self._level) / (self._scale or 1.0)  # values that are all alike stay what they are
        apart = self._apart(rows, rows)
        self._pulls, self.luck = _likeliest(apart, self._found)
        kernel = (1 - self.luck) * np.exp(-np.tensordot(self._pulls, apart, 1)) + self.luck * np.eye(len(rows))
        self._inverse = np.linalg.inv(kernel)

    def left_out(self) -> Floats:
        """What it says of each of its own rows when that one is left out."""
        told = self._found - (self._inverse @ self._found) / np.diag(self._inverse)
        return self._spelt(told)

    def of(self, rows: Floats) -> Floats:
        """The likely values of other rows."""
        return self._spelt(self._kernel(rows, self._rows) @ (self._inverse @ self._found))

    def draws(self, rows: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Draws [count, rows] of what rows may truly be worth, all at once: neighbours are lucky together."""
        across = self._kernel(rows, self._rows)
        centre = across @ (self._inverse @ self._found)
        covariance = self._kernel(rows, rows) - across @ self._inverse @ across.T
        # Rows that are equal leave a covariance without a root; a millionth on top changes no order.
        root = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(rows)))
        return self._spelt(centre + rng.standard_normal((count, len(rows))) @ root.T)

    def _kernel(self, rows: Floats, others: Floats) -> Floats:
        kernel: Floats = (1 - self.luck) * np.exp(-np.tensordot(self._pulls, self._apart(rows, others), 1))
        return kernel

    def _apart(self, rows: Floats, others: Floats) -> Floats:
        return np.array([one.apart(rows[:, at], others[:, at]) for at, one in enumerate(self._columns)])

    def _spelt(self, found: Floats) -> Floats:
        values = self._level + self._scale * found
        return np.asarray(np.exp(values) if self._log else values)


def _likeliest(apart: Floats, found: Floats) -> tuple[Floats, float]:
    """Pulls of parameters and the share of luck, one after the other as long as that makes the values likelier."""
    first = _TOGETHER / len(apart)
    pulls = np.full(len(apart), first)
    luck = 0.5
    total = np.tensordot(pulls, apart, 1)

    def unlikely(total: Floats, pulls: Floats, luck: float) -> float:
        root = np.linalg.cholesky((1 - luck) * np.exp(-total) + luck * np.eye(len(found)))
        left = np.linalg.solve(root, found)
        guess = (np.log(pulls / first) ** 2).sum() / (2 * _FIRM**2)
        return float(np.log(np.diag(root)).sum() + 0.5 * left @ left + guess)

    best = unlikely(total, pulls, luck)
    for _ in range(_ROUNDS):
        before = best
        for share in _LUCK:
            if (now := unlikely(total, pulls, share)) < best:
                best, luck = now, share
        for at, one in enumerate(apart):
            for times in _PULLS:
                tried = pulls.copy()
                tried[at] = times
                changed = total + (times - pulls[at]) * one
                if (now := unlikely(changed, tried, luck)) < best:
                    best, pulls, total = now, tried, changed
        if best > before - 1e-3:
            break
    return pulls, luck
