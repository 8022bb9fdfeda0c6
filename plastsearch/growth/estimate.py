"""Estimators behind the criteria: histogram entropy, correlations, ranks. Plain tensors in, plain tensors out.

Axes: N samples, U units, K other variables.
"""

import torch
from torch import Tensor

BINS = 64
LOW, HIGH = 0.001, 0.999  # quantiles that bound the histogram; what lies outside counts in the outer bins


def bin_entropy(value_NU: Tensor, *, shared: bool) -> Tensor:
    """Entropy of each column in nats from a 64-bin histogram, with the Miller-Madow correction.

    The range is each unit's own (blind to scale), or one for all units (`shared`, mostly a measure of spread). Exact
    zeros, where a ReLU is silent, have a bin of their own.
    """
    samples, units = value_NU.shape
    low, high = _range(value_NU, shared)
    span = torch.where(high > low, high - low, torch.ones_like(high))
    bin_NU = ((value_NU - low) / span * BINS).floor().clamp(0, BINS - 1).long()
    bin_NU[value_NU == 0] = BINS
    count_BU = torch.zeros(BINS + 1, units, dtype=value_NU.dtype)
    count_BU.scatter_add_(0, bin_NU, torch.ones_like(value_NU))
    share_BU = count_BU / samples
    entropy_U = -torch.xlogy(share_BU, share_BU).sum(0)
    occupied_U = (count_BU > 0).sum(0).to(share_BU.dtype)
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


def middle_ranks(value_U: Tensor) -> Tensor:
    """Ranks from 0; equal values share the mean of theirs, so that no rank depends on the order."""
    below_U = (value_U[None] < value_U[:, None]).sum(1)
    equal_U = (value_U[None] == value_U[:, None]).sum(1)
    return below_U.double() + (equal_U - 1).double() / 2


def _standard(value_NU: Tensor) -> Tensor:
    """Columns with mean 0 and length 1; constant ones (but for rounding) become 0."""
    centred_NU = value_NU - value_NU.mean(0)
    length_U = centred_NU.norm(dim=0)
    noise_U = value_NU.abs().amax(0) * len(value_NU) ** 0.5 * 1e-12
    return torch.where(length_U > noise_U, centred_NU / length_U.clamp_min(1e-300), torch.zeros_like(centred_NU))
