"""Nes2Net-X (Liu et al., 2504.05657): a Res2Net of features whose parts are Res2Nets themselves, without any reduction.

Axes: B clips, T frames, D features, C features of an outer part, W features of an inner part, P parts heard so far.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

PARTS = 8  # outer parts, and inner parts of each
KERNEL = 3
DILATION = 2


class Excitation(nn.Module):
    """Each feature times what all features' means over time say of it."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv1d(features, features, 1), nn.Conv1d(features, features, 1)

    def forward(self, frames_BCT: Tensor) -> Tensor:
        """The same frames."""
        gate_BC1 = self.leave(functional.relu(self.enter(frames_BCT.mean(2, keepdim=True)))).sigmoid()
        gated_BCT: Tensor = frames_BCT * gate_BC1
        return gated_BCT


class InnerBlock(nn.Module):
    """Inner parts, each of which hears those before it side by side; learnt weights sum them up."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.width = max(1, features // PARTS)
        whole = self.width * PARTS
        self.enter, self.enter_norm = nn.Conv1d(features, whole, 1), nn.BatchNorm1d(whole)
        around = KERNEL // 2 * DILATION
        self.convs = nn.ModuleList(
            nn.Conv2d(self.width, self.width, (KERNEL, 1), dilation=(DILATION, 1), padding=(around, 0))
            for _ in range(PARTS - 1)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(self.width) for _ in range(PARTS - 1))
        # Part k sums up k + 2: those before it, itself, and the last one, with which all begin.
        self.sums = nn.ParameterList(torch.full((k + 2,), 1 / (k + 2)) for k in range(PARTS - 1))
        self.leave, self.leave_norm = nn.Conv1d(whole, features, 1), nn.BatchNorm1d(features)
        self.excite = Excitation(features)

    def forward(self, frames_BCT: Tensor) -> Tensor:
        """The same frames, with a shortcut."""
        parts = torch.split(self.enter_norm(functional.relu(self.enter(frames_BCT))), self.width, 1)
        heard_BWTP = parts[-1][..., None]
        made = []
        for part_BWT, conv, norm, weight_P in zip(parts[:-1], self.convs, self.norms, self.sums, strict=True):
            heard_BWTP = norm(functional.relu(conv(torch.cat([heard_BWTP, part_BWT[..., None]], -1))))
            made.append((heard_BWTP * weight_P).sum(-1))
        out_BCT = self.leave_norm(functional.relu(self.leave(torch.cat([*made, parts[-1]], 1))))
        excited_BCT: Tensor = self.excite(out_BCT)
        return excited_BCT + frames_BCT


class Nes2NetX(nn.Module):
    """Frames to a row as wide as a frame."""

    multiple = PARTS  # of the features

    def __init__(self, features: int, states: int) -> None:
        super().__init__()
        del states  # it reads one row of frames
        self.outputs = features
        self.part = features // PARTS
        self.blocks = nn.ModuleList(InnerBlock(self.part) for _ in range(PARTS - 1))
        self.norms = nn.ModuleList(nn.BatchNorm1d(self.part) for _ in range(PARTS - 1))
        self.norm = nn.BatchNorm1d(features)

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """One row for each clip."""
        parts = torch.split(frames_BTD.transpose(1, 2), self.part, 1)
        made: list[Tensor] = []
        for part_BCT, block, norm in zip(parts[:-1], self.blocks, self.norms, strict=True):
            heard_BCT = part_BCT if not made else made[-1] + part_BCT
            made.append(norm(functional.relu(block(heard_BCT))))
        row_BD = functional.relu(self.norm(torch.cat([*made, parts[-1]], 1))).mean(2)
        return row_BD
