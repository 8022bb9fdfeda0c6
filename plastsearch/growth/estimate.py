"""Estimators behind the criteria: histogram entropy, correlations, ranks. Plain tensors in, plain tensors out.

Axes: N samples, U units, K other variables.
"""

import torch
from torch import Tensor

BINS = 64
LOW, HIGH = 0.001, 0.999  # quantiles that bound the histogram; what lies outside counts in the outer bins
_FINE = 2.0**52  # steps per nat of the terms of an entropy: whole numbers add up alike in any order
_NOISE = 1e-12  # relative; means of equal float64 numbers differ by less


def bin_entropy(value_NU: Tensor, *, shared: bool) -> Tensor:
    """Entropy of each column in nats from a 64-bin histogram, with the Miller-Madow correction.

    The range is each unit's own (blind to scale), or one for all units (`shared`, mostly a measure of spread). Exact
    zeros, where a ReLU is silent, have a bin of their own.
    """
    samples, units = value_NU.shape
    low, high = _range(value_NU, shared)
    wide = high - low > _NOISE * low.abs().maximum(high.abs())
    span = torch.where(wide, high - low, torch.ones_like(high))
    place_NU = torch.where(wide, (value_NU - low) / span, torch.zeros_like(value_NU))
    bin_NU = (place_NU * BINS).floor().clamp(0, BINS - 1).long()
    bin_NU[value_NU == 0] = BINS
    count_BU = torch.zeros(BINS + 1, units, dtype=torch.long)
    count_BU.scatter_add_(0, bin_NU, torch.ones_like(bin_NU))
    # Equal histograms, whichever bin holds which count, are to tie to the last bit: floats would add up by bin.
    share = torch.arange(samples + 1, dtype=torch.float64) / samples
    term = (-torch.xlogy(share, share) * _FINE).round().long()
    entropy_U = term[count_BU].sum(0).double() / _FINE
    occupied_U = (count_BU > 0).sum(0).double()
    return entropy_U + (occupied_U - 1) / (2 * samples)


def _range(value_NU: Tensor, shared: bool) -> tuple[Tensor, Tensor]:
    """Low and high quantile of what is not 0, per column or for all columns."""
    spoken_NU = value_NU.masked_fill(value_NU == 0, float("inf"))
    if shared:
        spoken_NU = spoken_NU.reshape(-1, 1)
    order_NU = spoken_NU.sort(dim=0).values
    count_U = (order_NU < float("inf")).sum(0)
    low_U, high_U = _quantile(order_NU, count_U, LOW), _quantile(order_NU, count_U, HIGH)
    silent_U = count_U == 0
    return low_U.masked_fill(silent_U, 0.0), high_U.masked_fill(silent_U, 0.0)


def _quantile(order_NU: Tensor, count_U: Tensor, share: float) -> Tensor:
    """The quantile among the first `count` values of each sorted column, between neighbours linearly."""
    place_U = (count_U - 1).clamp_min(0) * share
    below_U = place_U.floor().long()
    above_U = (below_U + 1).minimum((count_U - 1).clamp_min(0))
    first_U = order_NU.gather(0, below_U[None])[0]
    second_U = order_NU.gather(0, above_U[None])[0]
    return torch.where(first_U == second_U, first_U, first_U + (second_U - first_U) * (place_U - below_U))


def absolute_correlation(value_NU: Tensor, other_NK: Tensor) -> Tensor:
    """|Pearson's r| of every column with every other column, [U, K]; a constant correlates with nothing."""
    return (_standard(value_NU).T @ _standard(other_NK)).abs().clamp_max(1)


def largest_twin(value_NU: Tensor) -> Tensor:
    """The largest |r| of each column with another one; a constant is its own twin, since a bias can stand for it."""
    corr_UU = absolute_correlation(value_NU, value_NU)
    constant_U = corr_UU.diagonal() < 0.5
    corr_UU.fill_diagonal_(0)
    twin_U = corr_UU.max(dim=1).values
    return twin_U.masked_fill(constant_U, 1.0)


def middle_ranks(value_U: Tensor, near: float = 0.0) -> Tensor:
    """Ranks from 0; equal values share the mean of theirs, so that no rank depends on the order.

    Neighbours that differ by no more than a share `near` of themselves, as by rounding, count as equal.
    """
    sorted_U, order_U = value_U.sort(stable=True)
    apart_U = sorted_U[1:] - sorted_U[:-1] > near * sorted_U[1:].abs().maximum(sorted_U[:-1].abs())
    group_U = torch.cat([torch.zeros(1, dtype=torch.long), apart_U.long().cumsum(0)])[: len(value_U)]
    size_G = torch.bincount(group_U)
    mean_G = size_G.cumsum(0).double() - (size_G.double() + 1) / 2
    return torch.empty(len(value_U), dtype=torch.float64).scatter_(0, order_U, mean_G[group_U])


def _standard(value_NU: Tensor) -> Tensor:
    """Columns with mean 0 and length 1; constant ones (but for rounding) become 0."""
    centred_NU = value_NU - value_NU.mean(0)
    length_U = centred_NU.norm(dim=0)
    noise_U = value_NU.abs().amax(0) * len(value_NU) ** 0.5 * 1e-12
    return torch.where(length_U > noise_U, centred_NU / length_U.clamp_min(1e-300), torch.zeros_like(centred_NU))
