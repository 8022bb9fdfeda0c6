"""Sensitive layer selection (Zhang, Wen and Hu, ACM MM 2024): each layer has a gate that its own mean over time opens.

Axes: B clips, K states, T frames, D features of a frame, R rows of the pooled picture, E features of a clip.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

POOLED = 3
ROWS = 67  # of the published 201 frames (64,600 samples), pooled
EMBEDDED = 1024


class SLS(nn.Module):
    """States to a row of 1,024 numbers; what the encoder's first layer reads is no layer and is left out."""

    outputs = EMBEDDED
    least = POOLED  # frames

    def __init__(self, features: int, states: int) -> None:
        super().__init__()
        del states  # one gate serves all layers, so it does not matter how many there are
        self.gate = nn.Linear(features, 1)
        self.norm = nn.BatchNorm2d(1)
        self.embed = nn.Linear(ROWS * (features // POOLED), EMBEDDED)

    def forward(self, states_BKTD: Tensor) -> Tensor:
        """One row for each clip."""
        layers_BKTD = states_BKTD[:, 1:]
        gate_BK11 = self.gate(layers_BKTD.mean(2)).sigmoid()[:, :, None]
        picture_B1TD = functional.selu(self.norm((layers_BKTD * gate_BK11).sum(1, keepdim=True)))
        pooled_BTD = functional.max_pool2d(picture_B1TD, POOLED)[:, 0]
        rows_BRD = resampling(pooled_BTD.shape[1], ROWS).to(pooled_BTD) @ pooled_BTD
        row_BE: Tensor = functional.selu(self.embed(torch.flatten(rows_BRD, 1)))
        return row_BE


def resampling(frames: int, rows: int) -> Tensor:
    """Means over equal shares of the frames, [rows, frames]: the layer behind has a weight for each row."""
    # Of as many frames as rows it is the identity, as published; clips of other lengths are stretched or squeezed.
    at_R1 = torch.arange(rows)[:, None]
    first_R1 = at_R1 * frames // rows
    last_R1 = -(-(at_R1 + 1) * frames // rows)
    frame_F = torch.arange(frames)
    inside_RF = ((frame_F >= first_R1) & (frame_F < last_R1)).float()
    return inside_RF / inside_RF.sum(1, keepdim=True)
