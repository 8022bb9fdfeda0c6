"""Multi-head factorised attentive pooling (Peng et al., 2210.01273): one mix of layers says where, another says what.

Axes: B clips, K states, T frames, D features of a frame, H heads, C features after compression, E features of a clip.
"""

import torch
from torch import Tensor, nn

from plastsearch.models.heads.back_end import LayerMix

ATTENTIONS = 32
COMPRESSED = 128
EMBEDDED = 256


class MHFA(nn.Module):
    """States to a row of 256 numbers."""

    outputs = EMBEDDED

    def __init__(self, features: int, states: int) -> None:
        super().__init__()
        self.where_layers, self.what_layers = LayerMix(states), LayerMix(states)
        self.where = nn.Linear(features, COMPRESSED)
        self.what = nn.Linear(features, COMPRESSED)
        self.heads = nn.Linear(COMPRESSED, ATTENTIONS)
        self.embed = nn.Linear(ATTENTIONS * COMPRESSED, EMBEDDED)

    def forward(self, states_BKTD: Tensor) -> Tensor:
        """One row for each clip."""
        weight_BTH = self.heads(self.where(self.where_layers(states_BKTD))).softmax(1)
        what_BTC = self.what(self.what_layers(states_BKTD))
        heard_BHC = weight_BTH.transpose(1, 2) @ what_BTC
        row_BE: Tensor = self.embed(torch.flatten(heard_BHC, 1))
        return row_BE
