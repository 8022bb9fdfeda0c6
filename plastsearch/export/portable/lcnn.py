"""A light CNN with recurrent layers on top, each convolution with channels of its own number.

Axes: B clips, C channels, F rows of the spectrogram, T frames, D features of a frame.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from plastsearch.export.portable.pooling import Pooled
from plastsearch.export.portable.spectrum import FrontEnd


class LightBlock(nn.Module):
    """A convolution, the larger of two maps for each channel, at some depths pooling or a norm without weights."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        channels, kernel = shape["channels"], shape["kernel"]
        self.conv = nn.Conv2d(shape["inputs"], 2 * channels, kernel, padding=kernel // 2)
        self.halves = bool(shape["halves"])
        self.norm = nn.BatchNorm2d(channels, affine=False) if shape["normed"] else None

    def forward(self, hidden_BCFT: Tensor) -> Tensor:
        """Other channels, and at some depths half as many rows and frames."""
        first, second = self.conv(hidden_BCFT).chunk(2, 1)
        output = torch.maximum(first, second)
        if self.halves:
            even = output.shape[2] // 2 * 2
            output = max_pool2d(output[:, :, :even], 2, ceil_mode=True)
        return output if self.norm is None else self.norm(output)


class LCNN(Pooled):
    """Light convolutions, two recurrent layers and a way past them, pooling over frames."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__(shape["head"])
        self.front_end = FrontEnd(shape["front_end"])
        self.conv = nn.ModuleList(LightBlock(layer) for layer in shape["layers"])
        self.lstm = nn.ModuleList(
            nn.LSTM(inputs, units, batch_first=True, bidirectional=True) for inputs, units in shape["recurrent"]
        )

    def forward(self, wave_BT: Tensor) -> Tensor:
        """Logits of each clip."""
        hidden_BCFT = self.front_end(wave_BT)[:, None]
        for block in self.conv:
            hidden_BCFT = block(hidden_BCFT)
        frames_BTD = hidden_BCFT.permute(0, 3, 1, 2).flatten(2)
        recurrent_BTD = frames_BTD
        for layer in self.lstm:
            recurrent_BTD = layer(recurrent_BTD)[0]
        return self.classify(recurrent_BTD + frames_BTD if len(self.lstm) else frames_BTD)
