"""ResNet18 on a spectrogram of one channel; its sites are the inner channels of the eight basic blocks.

As a spiking network it has LIF neurons in the place of each ReLU, before the sum with the shortcut and not behind it
(SEW-ResNet): behind it the surrogate would dampen what goes straight on, block by block, and the network would not
learn. So sums of spikes, small whole numbers, pass from block to block. The spectrogram is the same current at every
step, so what lies before the first neurons runs once; every BatchNorm after them sees the steps as further clips, and
the frames to pool are the mean over steps.

Axes: B clips, S time steps of a spiking network, T samples or frames, C channels, F rows of the spectrogram,
D features, R rows: clips, or every step of them.
"""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from plastsearch.growth.families.found import resnet_sites
from plastsearch.growth.resize import unflatten
from plastsearch.growth.site import Refusal, Site
from plastsearch.models.catalog import STEMS, Spikes, Widths
from plastsearch.models.detector import SpectralDetector
from plastsearch.models.lif import LIF

BLOCKS_PER_STAGE = 2


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut; keys are named as torchvision names them."""

    def __init__(self, inputs: int, channels: int, stride: int, spikes: Spikes | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.spiking = spikes is not None
        self.relu = _activation(spikes)
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
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(hidden)))))
        if not self.spiking:
            output: Tensor = self.relu(inner + shortcut)
            return output
        spikes: Tensor = self.relu(inner)
        return spikes + (hidden if self.downsample is None else self.relu(shortcut))


def _activation(spikes: Spikes | None) -> nn.Module:
    return nn.ReLU() if spikes is None else LIF(spikes)


class ResNet18(SpectralDetector):
    """A stem, four stages of two blocks, mean over rows, pooling over frames."""

    family = "resnet18"
    own = ("channels", "stem")

    def __init__(self, front_end: nn.Module, plain: Widths) -> None:
        channels, spikes = plain["channels"], plain.get("spikes")
        super().__init__(front_end, plain, channels[-1])
        self.steps = 1 if spikes is None else spikes["time_steps"]
        self.spiking = spikes is not None
        self.norm = nn.BatchNorm2d(1)  # front ends differ in scale by orders of magnitude
        window, pooled = STEMS[plain.get("stem", "quarter")]
        self.conv1 = nn.Conv2d(1, channels[0], *window, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = _activation(spikes)
        self.maxpool = nn.Identity() if pooled is None else nn.MaxPool2d(*pooled)
        before = channels[0]
        for stage, width in enumerate(channels, start=1):
            first = BasicBlock(before, width, 1 if stage == 1 else 2, spikes)
            setattr(self, f"layer{stage}", nn.Sequential(first, BasicBlock(width, width, 1, spikes)))
            before = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def read(self, feature_BFL: Tensor) -> Tensor:
        """Convolution and perhaps max pooling of a spectrogram: a quarter, half or all of its rows and frames."""
        image_BCFT = self.masks(self.norm(feature_BFL[:, None]))
        current_BCFT: Tensor = self.bn1(self.conv1(image_BCFT))
        if not self.spiking:
            hidden: Tensor = self.maxpool(self.relu(current_BCFT))
            return hidden
        return self._by_clip(self.maxpool(self.relu(current_BCFT.repeat_interleave(self.steps, 0))))

    def run_block(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """One block; of a spiking network on the steps of every clip as rows."""
        if not self.spiking:
            return super().run_block(block, hidden)
        return self._by_clip(block(hidden.flatten(0, 1)))

    def _by_clip(self, hidden: Tensor) -> Tensor:
        """Rows of a spiking network as [B, S, …]: the first axis of what is cut, kept and halved are clips."""
        return unflatten(hidden, 0, (-1, self.steps))

    def blocks(self) -> list[tuple[str, nn.Module]]:
        """`layer1.0` to `layer4.1`, fewer after truncation."""
        stages = [name for name, _ in self.named_children() if name.startswith("layer")]
        return [(f"{stage}.{i}", block) for stage in stages for i, block in enumerate(getattr(self, stage))]

    def frames(self, hidden: Tensor) -> Tensor:
        """The mean over rows of the spectrogram, and over steps, frames second."""
        return (hidden.mean(1) if self.spiking else hidden).mean(2).transpose(1, 2)

    def declare_sites(self) -> list[Site | Refusal]:
        """Inner channels of each block."""
        sites = resnet_sites(self, read=False)
        if not self.spiking:
            return sites
        return [
            site if isinstance(site, Refusal) else replace(site, tap=replace(site.tap, steps=self.steps))
            for site in sites
        ]

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
        self._head_reads_(features)

    def _block_width(self) -> int:
        block: Any = self.blocks()[-1][1]
        return int(block.bn2.num_features)
