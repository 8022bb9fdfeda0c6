"""A plain convolutional network on a spectrogram of one channel, each convolution with channels of its own number.

Axes: B clips, C channels, F rows of the spectrogram, T frames.
"""

from typing import Any

from torch import Tensor, nn

from plastsearch.export.portable.pooling import Pooled
from plastsearch.export.portable.spectrum import FrontEnd


class ConvBlock(nn.Module):
    """A convolution, its norm, a ReLU, and the strongest of each two by two places."""

    def __init__(self, inputs: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, hidden_BCFT: Tensor) -> Tensor:
        """Half as many rows and frames."""
        output: Tensor = self.pool(self.norm(self.conv(hidden_BCFT)).relu())
        return output


class CNN(Pooled):
    """Blocks of one convolution each, mean over rows, pooling over frames."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__(shape["head"])
        self.front_end = FrontEnd(shape["front_end"])
        self.norm = nn.BatchNorm2d(1)
        inputs = [1, *shape["channels"][:-1]]
        sizes = zip(inputs, shape["channels"], shape["kernels"], strict=True)
        self.conv = nn.ModuleList(ConvBlock(*each) for each in sizes)

    def forward(self, wave_BT: Tensor) -> Tensor:
        """Logits of each clip."""
        hidden_BCFT = self.norm(self.front_end(wave_BT)[:, None])
        for block in self.conv:
            hidden_BCFT = block(hidden_BCFT)
        return self.classify(hidden_BCFT.mean(2).transpose(1, 2))
