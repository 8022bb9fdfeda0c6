"""From frames to one vector per clip; frames beyond a clip's own length do not count.

Axes: B clips, T frames, D features.
"""

import torch
from torch import Tensor, nn

from plastsearch.models.catalog import ATTENTION_POOL_HIDDEN


class MeanPool(nn.Module):
    """The mean over frames."""

    def forward(self, frames_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Frames where the mask is False are left out."""
        if mask_BT is None:
            return frames_BTD.mean(1)
        return (frames_BTD * _weights(mask_BT, frames_BTD)).sum(1)


class MeanStdPool(nn.Module):
    """Mean and standard deviation over frames, side by side."""

    def forward(self, frames_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Frames where the mask is False are left out."""
        if mask_BT is None:
            mean_BD = frames_BTD.mean(1)
            variance_BD = (frames_BTD - mean_BD[:, None]).square().mean(1)
        else:
            weight_BT1 = _weights(mask_BT, frames_BTD)
            mean_BD = (frames_BTD * weight_BT1).sum(1)
            variance_BD = ((frames_BTD - mean_BD[:, None]).square() * weight_BT1).sum(1)
        # The root's slope is infinite at 0: a feature constant in time must not turn the gradient into NaN.
        return torch.cat([mean_BD, variance_BD.clamp_min(1e-8).sqrt()], dim=-1)


class AttentionPool(nn.Module):
    """A weighted mean over frames; a two-layer scorer says which frames count."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, ATTENTION_POOL_HIDDEN)
        self.score = nn.Linear(ATTENTION_POOL_HIDDEN, 1, bias=False)

    def forward(self, frames_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Frames where the mask is False get no weight."""
        score_BT1 = self.score(torch.tanh(self.hidden(frames_BTD)))
        if mask_BT is not None:
            score_BT1 = score_BT1.masked_fill(~mask_BT[..., None], float("-inf"))
        pooled_BD: Tensor = (frames_BTD * score_BT1.softmax(1)).sum(1)
        return pooled_BD


def build_pool(pooling: str, features: int) -> nn.Module:
    """A pooling by name."""
    if pooling == "attention":
        return AttentionPool(features)
    return {"mean": MeanPool, "mean_std": MeanStdPool}[pooling]()


def _weights(mask_BT: Tensor, like: Tensor) -> Tensor:
    weight_BT = mask_BT.to(like.dtype)
    return (weight_BT / weight_BT.sum(1, keepdim=True).clamp_min(1))[..., None]
