"""A light CNN with recurrent layers on top: LCNN-LSTM-sum of Wang and Yamagishi (arXiv 2103.11326).

Each of nine convolutions gives two maps for each channel, of which the larger counts (max feature map). What it makes
of a frame's rows, side by side, goes through two bidirectional LSTM layers and past them; the sum is pooled. Its sites
are the channels between two convolutions and the units of the lower LSTM layer. What differs from the published network
is said in docs/small_networks.md.

Axes: B clips, C channels, F rows of the spectrogram, L frames of it, T frames, D features of a frame.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, max_pool2d

from plastsearch.growth.site import Refusal, Site, conv_pair, hidden
from plastsearch.models.catalog import LIGHT_HALVES, LIGHT_KERNELS, LIGHT_NORMED, Widths
from plastsearch.models.detector import SpectralDetector
from plastsearch.models.frontend import FilterBank

MAPS = 2  # of a channel, of which the larger counts
BESIDE = "its channels go past the recurrent layers to pooling and head, whose input would be wider; grow a lower one"
TOP = (
    "its channels are read by pooling and head, whose means and deviations would be those of new channels too; "
    "grow a lower one"
)
SUM = "its outputs are added to what the lower layer reads, so both have one width; grow 'lstm.0'"


class MaxFeatureMap(nn.Module):
    """The larger of two maps: each of the first half against the one at its place in the second."""

    def forward(self, maps_BCFL: Tensor) -> Tensor:
        """Half as many channels."""
        first, second = maps_BCFL.chunk(MAPS, 1)
        return torch.maximum(first, second)


class Halve(nn.Module):
    """The strongest of each two by two places."""

    least = 2  # frames that one place of its pooling spans

    def forward(self, hidden_BCFL: Tensor) -> Tensor:
        """A last odd row goes, as published; a last odd frame stays, so that the shortest clip leaves one."""
        even = hidden_BCFL.shape[2] // 2 * 2
        return max_pool2d(hidden_BCFL[:, :, :even], 2, ceil_mode=True)


class LightBlock(nn.Module):
    """A convolution, the larger of its maps, and at some depths pooling, or a norm without weights of its own."""

    def __init__(self, inputs: int, channels: int, depth: int) -> None:
        super().__init__()
        kernel = LIGHT_KERNELS[depth]
        self.conv = nn.Conv2d(inputs, MAPS * channels, kernel, padding=kernel // 2)
        # Pooling is part of the activation, for the norm behind it is to see what is left.
        self.act = nn.Sequential(MaxFeatureMap(), Halve()) if depth in LIGHT_HALVES else MaxFeatureMap()
        self.norm = nn.BatchNorm2d(channels, affine=False) if depth in LIGHT_NORMED else None

    def forward(self, hidden_BCFL: Tensor) -> Tensor:
        """Other channels, and at some depths half as many rows and frames."""
        output: Tensor = self.act(self.conv(hidden_BCFL))
        return output if self.norm is None else self.norm(output)


class Recurrence(nn.ModuleList):
    """Two LSTM layers of two directions, and a way past them."""

    def __init__(self, features: int, share: float) -> None:
        half = features // 2
        super().__init__(nn.LSTM(features, half, batch_first=True, bidirectional=True) for _ in range(2))
        self.share = share  # of its input that training leaves out

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """Frames as wide as before."""
        frames_BTD = dropout(frames_BTD, self.share, self.training)
        hidden_BTD = frames_BTD
        for layer in self:
            hidden_BTD = layer(hidden_BTD)[0]
        return hidden_BTD + frames_BTD


class LCNN(SpectralDetector):
    """Nine light convolutions, two recurrent layers and a way past them, pooling over frames."""

    family = "lcnn"
    own = ("channels",)

    def __init__(self, front_end: FilterBank, plain: Widths) -> None:
        channels = plain["channels"]
        self.rows = front_end.n_bins
        features = channels[-1] * (self.rows >> len(LIGHT_HALVES))
        # Left out below the recurrent layers, as published, and not again before the head.
        super().__init__(front_end, {**plain, "dropout": 0.0}, features)
        self.share = plain["dropout"]
        inputs = [1, *channels[:-1]]
        self.conv = nn.ModuleList(
            LightBlock(before, width, depth) for depth, (before, width) in enumerate(zip(inputs, channels, strict=True))
        )
        self.lstm: Recurrence | None = Recurrence(features, self.share)

    def plain_config(self) -> Widths:
        """Plain values that make the same architecture."""
        return {**super().plain_config(), "dropout": self.share}

    def read(self, feature_BFL: Tensor) -> Tensor:
        """The picture that the first convolution sees."""
        image_BCFL: Tensor = self.masks(feature_BFL[:, None])
        return image_BCFL

    def blocks(self) -> list[tuple[str, nn.Module]]:
        """`conv.0` to `conv.8`, then `lstm`, which is one block: there is a way past both of its layers."""
        convolutions: list[tuple[str, nn.Module]] = [(f"conv.{i}", block) for i, block in enumerate(self.conv)]
        return convolutions if self.lstm is None else [*convolutions, ("lstm", self.lstm)]

    def run_block(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """Recurrent layers compute in the precision of their weights, as those of grnn do."""
        if block is not self.lstm:
            return super().run_block(block, hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            output_BTD: Tensor = block(side_by_side(hidden).to(next(self.head.parameters()).dtype))
        return output_BTD

    def frames(self, hidden: Tensor) -> Tensor:
        """What the recurrent layers give; where they were cut off, each frame's rows side by side."""
        return side_by_side(hidden) if hidden.dim() == 4 else hidden

    def declare_sites(self) -> list[Site | Refusal]:
        """The channels of each convolution but the last, and the units of the lower recurrent layer."""
        last = len(self.conv) - 1
        sites: list[Site | Refusal] = []
        for i in range(last):
            own = f"conv.{i}"
            block: Any = self.conv[i]
            norm = None if block.norm is None else f"{own}.norm"
            sites.append(
                conv_pair(
                    self, own, f"{own}.conv", norm, f"conv.{i + 1}.conv", i,
                    act=f"{own}.act", maps=MAPS, act_first=True,
                )
            )  # fmt: skip
        sites.append(Refusal(f"conv.{last}", f"site 'conv.{last}': {TOP if self.lstm is None else BESIDE}"))
        if self.lstm is not None:
            sites.append(hidden(self, "lstm.0", "lstm.0", ["lstm.1"], last + 1))
            sites.append(Refusal("lstm.1", f"site 'lstm.1': {SUM}"))
        return sites

    def truncate_(self, count: int) -> None:
        """Keep the first `count` blocks; the head is new if the last of them has another width."""
        self._check_count(count)
        if count > len(self.conv):
            return
        self.lstm = None
        self.head_dropout = nn.Dropout(self.share)
        self.conv = self.conv[:count]
        block: Any = self.conv[-1]
        halved = sum(depth < count for depth in LIGHT_HALVES)
        self._head_reads_(block.conv.out_channels // MAPS * (self.rows >> halved))


def side_by_side(hidden_BCFL: Tensor) -> Tensor:
    """Frames [B, T, D] of a picture: all channels and rows of a frame in one row."""
    return hidden_BCFL.permute(0, 3, 1, 2).flatten(2)
