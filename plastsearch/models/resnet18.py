"""ResNet18 on a spectrogram of one channel; its sites are the inner channels of the eight basic blocks.

Axes: B clips, T samples or frames, C channels, F rows of the spectrogram, D features.
"""

from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.growth.families import resnet_sites
from plastsearch.growth.site import Refusal, Site
from plastsearch.models.catalog import Widths
from plastsearch.models.detector import Detector

BLOCKS_PER_STAGE = 2


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; keys are named as torchvision names them."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, hidden: Tensor) -> Tensor:
        """Shortcut plus the two convolutions."""
        shortcut = hidden if self.downsample is None else self.downsample(hidden)
        inner = self.relu(self.bn1(self.conv1(hidden)))
        output: Tensor = torch.relu(self.bn2(self.conv2(inner)) + shortcut)
        return output


class ResNet18(Detector):
    """7×7 stem, four stages of two blocks, mean over rows, pooling over frames."""

    def __init__(
        self,
        front_end: nn.Module,
        channels: list[int],
        *,
        pooling: str,
        dropout: float,
        front_end_name: str,
        rate_hz: int,
    ) -> None:
        super().__init__(channels[-1], pooling, dropout)
        self.front_end = front_end
        self._plain: Widths = {"front_end": front_end_name, "rate_hz": rate_hz, "channels": list(channels)}
        self.norm = nn.BatchNorm2d(1)  # front ends differ in scale by orders of magnitude
        self.conv1 = nn.Conv2d(1, channels[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = channels[0]
        for stage, width in enumerate(channels, start=1):
            first = BasicBlock(before, width, 1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", nn.Sequential(first, BasicBlock(width, width, 1)))
            before = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stem(self, wave_BT: Tensor) -> Tensor:
        """Spectrogram, 7×7 convolution, max pooling: a quarter of the rows and frames."""
        image_BCFT = self.norm(self.front_end(wave_BT)[:, None])
        hidden: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(image_BCFT))))
        return hidden

    def blocks(self) -> list[tuple[str, nn.Module]]:
        """`layer1.0` to `layer4.1`, fewer after truncation."""
        stages = [name for name, _ in self.named_children() if name.startswith("layer")]
        return [(f"{stage}.{i}", block) for stage in stages for i, block in enumerate(getattr(self, stage))]

    def frames(self, hidden: Tensor) -> Tensor:
        """The mean over rows of the spectrogram, frames second."""
        return hidden.mean(2).transpose(1, 2)

    def declare_sites(self) -> list[Site | Refusal]:
        """Inner channels of each block."""
        return resnet_sites(self, read=False)

    def truncate_(self, count: int) -> None:
        """Keep the first `count` blocks; the head is new if they are narrower."""
        self._check_count(count)
        kept = [name for name, _ in self.blocks()[:count]]
        for stage in [name for name, _ in self.named_children() if name.startswith("layer")]:
            size = sum(name.startswith(f"{stage}.") for name in kept)
            if size:
                setattr(self, stage, getattr(self, stage)[:size])
            else:
                delattr(self, stage)
        features = self._block_width()
        if features != self.head.in_features // self._copies():
            self._new_head_(features)

    def plain_config(self) -> Widths:
        """Plain values that make the same architecture."""
        return {
            "model_type": "resnet18",
            **self._plain,
            "pooling": self.pooling,
            "dropout": self.head_dropout.p,
            "blocks": len(self.blocks()),
        }

    def _block_width(self) -> int:
        block: Any = self.blocks()[-1][1]
        return int(block.bn2.num_features)
