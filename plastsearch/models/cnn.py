"""A plain convolutional network on a spectrogram: 3×3 convolutions, each with BatchNorm, ReLU and max pooling by two.

The first convolution sees all of the picture, and what is thrown away on the way up are not rows and frames between
strides but all except the strongest of four. In the few thousand steps that small corpora allow it learns faster than
the deeper ResNet (docs/small_networks.md). Its sites are the channels between two convolutions.

Axes: B clips, T samples or frames, C channels, F rows of the spectrogram, L frames of it.
"""

from typing import Any

from torch import Tensor, nn

from plastsearch.growth.site import Refusal, Site, conv_pair
from plastsearch.models.catalog import Widths
from plastsearch.models.detector import SpectralDetector

TOP = (
    "its channels are read by pooling and head, whose means and deviations would be those of new channels too; "
    "grow a lower one"
)


class ConvBlock(nn.Module):
    """A convolution, its norm, a ReLU, and the strongest of each two by two places."""

    least = 2  # frames that one place of its pooling spans

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)  # the shortest clip still leaves a frame

    def forward(self, hidden: Tensor) -> Tensor:
        """Half as many rows and frames."""
        output: Tensor = self.pool(self.relu(self.norm(self.conv(hidden))))
        return output


class CNN(SpectralDetector):
    """Blocks of one convolution each, mean over rows, pooling over frames."""

    family = "cnn"
    own = ("channels",)

    def __init__(self, front_end: nn.Module, plain: Widths) -> None:
        channels = plain["channels"]
        super().__init__(front_end, plain, channels[-1])
        self.norm = nn.BatchNorm2d(1)
        inputs = [1, *channels[:-1]]
        self.conv = nn.ModuleList(ConvBlock(before, width) for before, width in zip(inputs, channels, strict=True))

    def read(self, feature_BFL: Tensor) -> Tensor:
        """The picture that the first convolution sees."""
        image_BCFL: Tensor = self.masks(self.norm(feature_BFL[:, None]))
        return image_BCFL

    def blocks(self) -> list[tuple[str, nn.Module]]:
        """`conv.0`, `conv.1`, …, fewer after truncation."""
        return [(f"conv.{i}", block) for i, block in enumerate(self.conv)]

    def frames(self, hidden: Tensor) -> Tensor:
        """The mean over rows of the picture, frames second."""
        return hidden.mean(2).transpose(1, 2)

    def declare_sites(self) -> list[Site | Refusal]:
        """The channels of each convolution but the last, read by the next one through the pooling between them."""
        last = len(self.conv) - 1
        sites: list[Site | Refusal] = []
        for i in range(last):
            own, after = f"conv.{i}", f"conv.{i + 1}"
            # The pooling stands where others have a dropout: a step without weights, behind the activation, that new
            # channels take as old ones do.
            sites.append(
                conv_pair(
                    self, own, f"{own}.conv", f"{own}.norm", f"{after}.conv", i,
                    act=f"{own}.relu", dropout=f"{own}.pool", out_norm=f"{after}.norm",
                )
            )  # fmt: skip
        return [*sites, Refusal(f"conv.{last}", f"site 'conv.{last}': {TOP}")]

    def truncate_(self, count: int) -> None:
        """Keep the first `count` convolutions; the head is new if the last of them has another width."""
        self._check_count(count)
        self.conv = self.conv[:count]
        block: Any = self.conv[-1]
        features = block.norm.num_features
        self._head_reads_(features)
