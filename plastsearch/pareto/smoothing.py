"""What trials are worth once part of a value is put down to luck: a Gaussian process over parameters. Numbers only.

How much is luck, and how far one trial tells of another, follows from the values themselves: each length and each share
of luck on a grid has its say by its marginal likelihood (Rasmussen and Williams 2006, ch. 5). Where neighbours tell
nothing of each other, or nothing is luck, values come back as they were.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 8  # trials, below which nothing is told apart
LENGTHS = (1.0, 4.0, 16.0)  # in differing parameters: over so many a likeness falls to a third
# Shares of the variance of single runs; nearly none, too, for what is counted may be told from what is measured.
LUCK = np.array([1e-6, 1e-3, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97])
SURE = 0.1  # luck has at least so much with nine chances of ten


def distances(columns: Sequence[tuple[Floats, float]]) -> Floats:
    """In how many parameters rows differ: a column and its span, 0 for labels; NaN where it does not count."""
    found = np.zeros((len(columns[0][0]),) * 2)
    for column, span in columns:
        absent = np.isnan(column)
        known = np.where(absent, 0.0, column)
        apart = np.abs(known[:, None] - known[None, :])
        apart = apart / span if span else (apart > 0).astype(np.float64)
        either = absent[:, None] | absent[None, :]
        found += np.where(either, absent[:, None] != absent[None, :], apart)
    return found


def smoothed(apart: Floats, values: Floats, runs: Floats) -> tuple[Floats, float]:
    """Each column of `values`, means over so many runs, without its luck; and the largest share luck surely has."""
    found = values.copy()
    if len(values) < LEAST:
        return found, 0.0
    # A mean over r runs has the r-th part of the luck; scaled by the root of that, all rows have the same again.
    root = np.sqrt(runs)
    spectra = [np.linalg.eigh(np.exp(-apart / length) * np.outer(root, root)) for length in LENGTHS]
    most = 0.0
    for at, column in enumerate(values.T):
        level = np.average(column, weights=runs)
        spread = column.std()
        if not spread > 0:
            continue
        scaled = root * (column - level) / spread
        likelihoods, guesses = [], []
        for powers, axes in spectra:
            known = (1 - LUCK)[:, None] * np.maximum(powers, 0.0)
            whole = known + LUCK[:, None]
            along = axes.T @ scaled
            size = (along**2 / whole).mean(axis=1)  # at its likeliest, for each share
            likelihoods.append(-0.5 * (len(column) * np.log(size) + np.log(whole).sum(axis=1)))
            guesses.append((known / whole * along) @ axes.T)
        chances = np.exp(np.array(likelihoods) - np.max(likelihoods))
        chances /= chances.sum()
        guess = np.einsum("ls,lsn->n", chances, np.array(guesses)) / root
        found[:, at] = level + spread * guess
        # A few trials leave much open: what luck has for sure, not what it may have.
        most = max(most, float(LUCK[np.searchsorted(np.cumsum(chances.sum(axis=0)), SURE)]))
    return found, most
