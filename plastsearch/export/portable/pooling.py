"""Frames of a clip as one row: [B clips, T frames, D features] → [B, features of the head]."""

from typing import Any

import torch
from torch import Tensor, nn


class Pool(nn.Module):
    """Mean, mean and standard deviation, or a mean weighted by a two-layer scorer."""

    def __init__(self, kind: str, features: int, hidden: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "attention":
            self.hidden = nn.Linear(features, hidden)
            self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """One row for each clip."""
        if self.kind == "attention":
            weight_BT1 = self.score(torch.tanh(self.hidden(frames_BTD))).softmax(1)
            weighted: Tensor = (frames_BTD * weight_BT1).sum(1)
            return weighted
        mean_BD = frames_BTD.mean(1)
        if self.kind == "mean":
            return mean_BD
        variance_BD = (frames_BTD - mean_BD[:, None]).square().mean(1)
        return torch.cat([mean_BD, variance_BD.clamp_min(1e-8).sqrt()], dim=-1)


class Pooled(nn.Module):
    """A network that ends in a pooling and a linear layer: logits for spoof and bona fide, in this order."""

    def __init__(self, head: dict[str, Any]) -> None:
        super().__init__()
        self.pool: nn.Module = Pool(head["pooling"], head["features"], head["attention_hidden"])
        self.head = nn.Linear(head["inputs"], 2)

    def classify(self, frames_BTD: Tensor) -> Tensor:
        """Logits from the frames."""
        logits_BC: Tensor = self.head(self.pool(frames_BTD))
        return logits_BC
