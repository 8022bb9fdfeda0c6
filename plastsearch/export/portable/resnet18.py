"""ResNet18 on a spectrogram of one channel, each block with inner channels of its own number.

Axes: B clips, R rows (clips, or every step of them), C channels, F rows of the spectrogram, T frames.
"""

from typing import Any

from torch import Tensor, nn

from plastsearch.export.portable.pooling import Pooled
from plastsearch.export.portable.spectrum import FrontEnd
from plastsearch.export.portable.spiking import LIF


class Block(nn.Module):
    """Two convolutions beside a shortcut; a spiking one has its neurons before the sum, else behind it."""

    def __init__(self, shape: dict[str, Any], spikes: dict[str, Any] | None) -> None:
        super().__init__()
        inputs, inner, outputs, stride = shape["inputs"], shape["inner"], shape["outputs"], shape["stride"]
        first, second = shape.get("kernels", (3, 3))
        self.spiking = spikes is not None
        self.relu = nn.ReLU() if spikes is None else LIF(spikes)
        self.conv1 = nn.Conv2d(inputs, inner, first, stride, first // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, outputs, second, 1, second // 2, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if shape["downsample"]:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, hidden_RCFT: Tensor) -> Tensor:
        """Shortcut plus the two convolutions."""
        shortcut = hidden_RCFT if self.downsample is None else self.downsample(hidden_RCFT)
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(hidden_RCFT)))))
        if not self.spiking:
            output: Tensor = self.relu(inner + shortcut)
            return output
        spikes: Tensor = self.relu(inner)
        return spikes + (hidden_RCFT if self.downsample is None else self.relu(shortcut))


class Row(nn.Module):
    """Two convolutions with a norm and a ReLU between them."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, inner, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(inner)
        self.leave = nn.Conv2d(inner, channels, 3, padding=1, bias=False)

    def forward(self, hidden_RCFT: Tensor) -> Tensor:
        """The second convolution's output."""
        output: Tensor = self.leave(self.norm(self.enter(hidden_RCFT)).relu())
        return output


class ConvBranch(nn.Module):
    """A row and a norm, on top of a block."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.row = Row(channels, inner)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, hidden_RCFT: Tensor) -> Tensor:
        """What is added to the block's output."""
        output: Tensor = self.norm(self.row(hidden_RCFT))
        return output


class OnTop(nn.Module):
    """A block with one more after it, beside a shortcut."""

    def __init__(self, base: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.base, self.branch = base, branch

    def forward(self, hidden_RCFT: Tensor) -> Tensor:
        """The block's output and what the upper one adds to it."""
        out = self.base(hidden_RCFT)
        total: Tensor = out + self.branch(out)
        return total


def residual_block(shape: dict[str, Any], spikes: dict[str, Any] | None) -> nn.Module:
    """One block with what was stacked on it, from the inside out."""
    block: nn.Module = Block(shape, spikes)
    for around in shape["around"]:
        block = OnTop(block, ConvBranch(shape["outputs"], around["units"]))
    return block


# Of the first convolution: kernel, stride, padding; of the pooling after it, if there is one.
STEMS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int] | None]] = {
    "quarter": ((7, 2, 3), (3, 2, 1)),
    "half": ((3, 1, 1), (2, 2, 0)),
    "whole": ((3, 1, 1), None),
}


class ResNet18(Pooled):
    """A stem, stages of blocks, mean over rows of the spectrogram, pooling over frames."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__(shape["head"])
        spikes, channels = shape["spikes"], shape["channels"]
        self.steps = 1 if spikes is None else int(spikes["time_steps"])
        self.front_end = FrontEnd(shape["front_end"])
        self.norm = nn.BatchNorm2d(1)
        first, then = STEMS[shape["stem"]]
        self.conv1 = nn.Conv2d(1, channels, *first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU() if spikes is None else LIF(spikes)
        self.maxpool = nn.Identity() if then is None else nn.MaxPool2d(*then)
        self.stages = list(shape["stages"])
        for name, blocks in shape["stages"].items():
            setattr(self, name, nn.Sequential(*[residual_block(block, spikes) for block in blocks]))

    def forward(self, wave_BT: Tensor) -> Tensor:
        """Logits of each clip."""
        current = self.bn1(self.conv1(self.norm(self.front_end(wave_BT)[:, None])))
        # The spectrogram is the same current at every step, so what lies before the first neurons runs once.
        hidden = self.maxpool(self.relu(current.repeat_interleave(self.steps, 0)))
        for name in self.stages:
            hidden = getattr(self, name)(hidden)
        by_clip = hidden.reshape(-1, self.steps, *hidden.shape[1:]).mean(1)
        return self.classify(by_clip.mean(2).transpose(1, 2))
