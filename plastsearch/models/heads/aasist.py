"""AASIST behind a speech encoder (Jung et al., 2110.01200; Tak et al., 2202.12233): graphs over features and over time.

A picture of features over frames becomes one graph of its features and one of its frames. Both are joined in one graph
of two kinds of nodes with a master node that hears all; two such branches compete, node by node.

Axes: B clips, T frames, D features of a frame, C channels, S bands, N nodes, E features of a node.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

REDUCED = 128  # features of a frame after the first layer
POOLED = 3  # of the picture, along both sides
CHANNELS = (32, 32, 64, 64, 64, 64)
TAPS = 3  # of a kernel, along frames
NODE = 64  # features of a node in the first graphs
JOINED = 32  # and in the joined ones


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, each behind norm and SELU; the first block begins with a plain one.

    Channels and taps of the way through them are the block's own, so that both may grow.
    """

    def __init__(self, inputs: int, outputs: int, inner: int, taps: int, *, first: bool) -> None:
        super().__init__()
        self.norm1 = None if first else nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inner, (2, taps), padding=(1, taps // 2))
        self.norm2 = nn.BatchNorm2d(inner)
        self.act = nn.SELU()
        self.conv2 = nn.Conv2d(inner, outputs, (2, taps), padding=(0, taps // 2))
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, (1, 3), padding=(0, 1))

    def forward(self, picture_BCST: Tensor) -> Tensor:
        """A picture of the same sides."""
        within = picture_BCST if self.norm1 is None else functional.selu(self.norm1(picture_BCST))
        within = self.conv2(self.act(self.norm2(self.conv1(within))))
        beside: Tensor = picture_BCST if self.shortcut is None else self.shortcut(picture_BCST)
        both: Tensor = within + beside
        return both


class GraphAttention(nn.Module):
    """Every node hears every other one, as much as their product says."""

    def __init__(self, inputs: int, outputs: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.pair = nn.Linear(inputs, outputs)
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(outputs, 1)))
        self.others = nn.Linear(inputs, outputs)
        self.own = nn.Linear(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs)
        self.drop = nn.Dropout(0.2)

    def forward(self, nodes_BNE: Tensor) -> Tensor:
        """The same nodes with other features."""
        nodes_BNE = self.drop(nodes_BNE)
        pairs_BNNE = torch.tanh(self.pair(nodes_BNE[:, :, None] * nodes_BNE[:, None]))
        heard_BNN = ((pairs_BNNE @ self.weight)[..., 0] / self.temperature).softmax(-1)
        return _normed(self.norm, self.others(heard_BNN @ nodes_BNE) + self.own(nodes_BNE))


class JoinedAttention(nn.Module):
    """The same over nodes of two kinds, with weights of their own for each kind of pair, and a master node."""

    def __init__(self, inputs: int, outputs: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.frames = nn.Linear(inputs, inputs)
        self.bands = nn.Linear(inputs, inputs)
        self.pair = nn.Linear(inputs, outputs)
        self.master_pair = nn.Linear(inputs, outputs)
        # Frame to frame, band to band, frame to band (in both directions), any node to the master.
        self.weights = nn.ParameterList(nn.init.xavier_normal_(torch.empty(outputs, 1)) for _ in range(4))
        self.others = nn.Linear(inputs, outputs)
        self.own = nn.Linear(inputs, outputs)
        self.master_others = nn.Linear(inputs, outputs)
        self.master_own = nn.Linear(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs)
        self.drop = nn.Dropout(0.2)

    def forward(self, frames_BNE: Tensor, bands_BNE: Tensor, master_B1E: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames, bands and master with other features."""
        count = frames_BNE.shape[1]
        nodes_BNE = self.drop(torch.cat([self.frames(frames_BNE), self.bands(bands_BNE)], 1))
        heard_BNN = (self._pairs(nodes_BNE, count) / self.temperature).softmax(-1)
        told_BN1 = torch.tanh(self.master_pair(nodes_BNE * master_B1E)) @ self.weights[3]
        told_B1N = (told_BN1 / self.temperature).softmax(1).transpose(1, 2)
        master_B1E = self.master_others(told_B1N @ nodes_BNE) + self.master_own(master_B1E)
        out_BNE = _normed(self.norm, self.others(heard_BNN @ nodes_BNE) + self.own(nodes_BNE))
        return out_BNE[:, :count], out_BNE[:, count:], master_B1E

    def _pairs(self, nodes_BNE: Tensor, count: int) -> Tensor:
        """How near the nodes of each pair are."""
        pairs_BNNE = torch.tanh(self.pair(nodes_BNE[:, :, None] * nodes_BNE[:, None]))
        frames, bands, across = ((pairs_BNNE @ self.weights[kind])[..., 0] for kind in range(3))
        upper = torch.cat([frames[:, :count, :count], across[:, :count, count:]], 2)
        return torch.cat([upper, torch.cat([across[:, count:, :count], bands[:, count:, count:]], 2)], 1)


class GraphPool(nn.Module):
    """Keeps the half of the nodes that a learnt score puts first, each times its score."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.score = nn.Linear(features, 1)
        self.drop = nn.Dropout(0.3)

    def forward(self, nodes_BNE: Tensor) -> Tensor:
        """Fewer nodes, one at least."""
        score_BN1 = self.score(self.drop(nodes_BNE)).sigmoid()
        # Exporters know this one for numbers that stay open.
        kept = torch.sym_max(1, nodes_BNE.shape[1] // 2)  # type: ignore[no-untyped-call]
        first_BK1 = score_BN1.topk(kept, dim=1).indices
        scored_BNE: Tensor = nodes_BNE * score_BN1
        return scored_BNE.gather(1, first_BK1.expand(-1, -1, nodes_BNE.shape[2]))


class JoinedBranch(nn.Module):
    """Two layers over the joined graph with a pooling between them."""

    def __init__(self) -> None:
        super().__init__()
        self.master = nn.Parameter(torch.randn(1, 1, NODE))
        self.first = JoinedAttention(NODE, JOINED, 100.0)
        self.second = JoinedAttention(JOINED, JOINED, 100.0)
        self.pool_frames, self.pool_bands = GraphPool(JOINED), GraphPool(JOINED)
        self.drop = nn.Dropout(0.2)

    def forward(self, frames_BNE: Tensor, bands_BNE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames, bands and master."""
        frames_BNE, bands_BNE, master_B1E = self.first(
            frames_BNE, bands_BNE, self.master.expand(frames_BNE.shape[0], -1, -1)
        )
        frames_BNE, bands_BNE = self.pool_frames(frames_BNE), self.pool_bands(bands_BNE)
        more = self.second(frames_BNE, bands_BNE, master_B1E)
        frames, bands, master = (
            self.drop(old + new) for old, new in zip((frames_BNE, bands_BNE, master_B1E), more, strict=True)
        )
        return frames, bands, master


class AASIST(nn.Module):
    """Frames to a row of 160 numbers: largest and mean frame, largest and mean band, master."""

    outputs = 5 * JOINED
    least = POOLED  # frames

    def __init__(
        self,
        features: int,
        states: int,
        inner: Sequence[int] = CHANNELS,
        taps: Sequence[int] = (TAPS,) * len(CHANNELS),
        gate: int = 2 * NODE,
    ) -> None:
        super().__init__()
        del states  # it reads one row of frames
        self.reduce = nn.Linear(features, REDUCED)
        self.first_norm = nn.BatchNorm2d(1)
        inputs = (1, *CHANNELS)
        self.blocks = nn.Sequential(
            *(ResidualBlock(inputs[k], outputs, inner[k], taps[k], first=k == 0) for k, outputs in enumerate(CHANNELS))
        )
        self.last_norm = nn.BatchNorm2d(NODE)
        self.attention = nn.Sequential(
            nn.Conv2d(NODE, gate, 1), nn.SELU(), nn.BatchNorm2d(gate), nn.Conv2d(gate, NODE, 1)
        )
        self.places = nn.Parameter(torch.randn(1, REDUCED // POOLED, NODE))  # of bands, which have an order
        self.band_graph, self.frame_graph = GraphAttention(NODE, NODE, 2.0), GraphAttention(NODE, NODE, 2.0)
        self.band_pool, self.frame_pool = GraphPool(NODE), GraphPool(NODE)
        self.branches = nn.ModuleList(JoinedBranch() for _ in range(2))
        self.drop = nn.Dropout(0.5)

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """One row for each clip."""
        picture_B1ST = functional.max_pool2d(self.reduce(frames_BTD).transpose(1, 2)[:, None], POOLED)
        picture_BCST = self.blocks(functional.selu(self.first_norm(picture_B1ST)))
        picture_BCST = functional.selu(self.last_norm(picture_BCST))
        weight_BCST = self.attention(picture_BCST)
        bands_BSE = (picture_BCST * weight_BCST.softmax(3)).sum(3).transpose(1, 2) + self.places
        times_BTE = (picture_BCST * weight_BCST.softmax(2)).sum(2).transpose(1, 2)
        bands_BNE, times_BNE = self.band_pool(self.band_graph(bands_BSE)), self.frame_pool(self.frame_graph(times_BTE))
        one, other = (branch(times_BNE, bands_BNE) for branch in self.branches)
        times, bands, master = (torch.maximum(a, b) for a, b in zip(one, other, strict=True))
        parts = [times.abs().amax(1), times.mean(1), bands.abs().amax(1), bands.mean(1), master[:, 0]]
        row_BE: Tensor = self.drop(torch.cat(parts, 1))
        return row_BE


def _normed(norm: nn.BatchNorm1d, nodes_BNE: Tensor) -> Tensor:
    """Norm over the nodes of all clips, then SELU."""
    return functional.selu(norm(nodes_BNE.flatten(0, 1)).reshape(nodes_BNE.shape))
