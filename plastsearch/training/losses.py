"""Losses on the two logits of a detector: cross-entropy, OC-Softmax and AM-Softmax, with or without class weights.

All of them push on the score, logit 1 (bona fide) minus logit 0, and on nothing else the network emits: a larger
difference is always more bona fide, and 0 is where the loss is indifferent, so metrics and thresholds need not know
which loss trained the network.

The two margin losses were published for cosines between an embedding and class directions. A linear head gives
unbounded logits instead, so the cosine is that of the angle between the point (1, d) and the indifferent axis,
    cosine(d) = d / sqrt(1 + d^2),
a bounded, increasing function of the score d; embedding and head are left as they are, which keeps growing,
pruning and comparing networks independent of the loss. Both are divided by their scale, so that slopes, and with
them learning rates, are those of cross-entropy.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from plastsearch.errors import PlastsearchError

SCALE = 20.0
OC_MARGINS = (0.2, 0.9)  # Zhang, Jiang and Duan 2021: spoof below the first, bona fide above the second
AM_MARGIN = 0.9

Reduction = Literal["mean", "none"]


def cross_entropy(score_B: Tensor, label_B: Tensor) -> Tensor:
    """-log of the label's softmax probability, which for two classes depends on their difference alone."""
    return softplus(-_toward(label_B) * score_B)


def oc_softmax(score_B: Tensor, label_B: Tensor) -> Tensor:
    """One class: bona fide within a narrow cone, spoofs anywhere outside a wider one."""
    low, high = OC_MARGINS
    middle = (low + high) / 2
    # Shifted so that a score of 0 lies midway between the two cones.
    cosine_B = cosine(score_B + middle / math.sqrt(1 - middle**2))
    margin_B = torch.where(label_B == 1, high - cosine_B, cosine_B - low)
    return softplus(SCALE * margin_B) / SCALE


def am_softmax(score_B: Tensor, label_B: Tensor) -> Tensor:
    """Additive margin between two opposite class directions: cosines +c and -c."""
    gap_B = 2 * _toward(label_B) * cosine(score_B) - AM_MARGIN
    return softplus(-SCALE * gap_B) / SCALE


def cosine(score_B: Tensor) -> Tensor:
    """A score as the cosine of an angle; its slope at 0 is 1."""
    return score_B * torch.rsqrt(1 + score_B.square())


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "oc_softmax": oc_softmax,
    "am_softmax": am_softmax,
}


class ClassLoss(nn.Module):
    """A loss per clip, weighed by class; the mean counts clips, so micro-batches add up to their batch exactly."""

    weight: Tensor  # [2]

    def __init__(self, name: str, weight: Sequence[float], reduction: Reduction) -> None:
        super().__init__()
        self.name = name
        self.reduction = reduction
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float32), persistent=False)

    def forward(self, logits_BC: Tensor, label_B: Tensor) -> Tensor:
        """A scalar, or one value per clip, in float32."""
        logits_BC = logits_BC.float()
        weight = self.weight.to(logits_BC.device)
        loss_B = LOSSES[self.name](logits_BC[:, 1] - logits_BC[:, 0], label_B) * weight[label_B]
        return loss_B if self.reduction == "none" else loss_B.mean()


def build_loss(
    name: str, class_counts: Sequence[int], balance: str = "weights", *, reduction: Reduction = "mean"
) -> ClassLoss:
    """A loss by name; `class_counts` are the clips of (spoof, bona fide) that training will meet.

    With `weights` a class weighs N / (2 n): both count half in the sum, and the mean weight of a clip is one.
    With `sampler` (batches already hold both classes alike) or `none` every clip weighs one.
    """
    if name not in LOSSES:
        raise PlastsearchError(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    if balance not in ("weights", "sampler", "none"):
        raise PlastsearchError(f"unknown balance {balance!r}; known: weights, sampler, none")
    spoof, bona_fide = class_counts
    if spoof < 1 or bona_fide < 1:
        raise PlastsearchError(f"training needs clips of both classes, got {spoof} spoof and {bona_fide} bona fide")
    total = spoof + bona_fide
    weight = (total / (2 * spoof), total / (2 * bona_fide)) if balance == "weights" else (1.0, 1.0)
    return ClassLoss(name, weight, reduction)


def _toward(label_B: Tensor) -> Tensor:
    """+1 for bona fide, -1 for spoof."""
    return 2.0 * label_B - 1.0
