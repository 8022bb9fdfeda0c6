"""What every network here offers: logits from waveforms, its sites, and places to cut it in two.

A detector is a stem, blocks one after the other, and a head: `suffix(prefix(wave, cut), cut)` is `forward(wave)` for
every cut, so that what lies below the lowest site that learns can be computed once and kept.

Axes: B clips, T samples or frames, D features, C classes (0 spoof, 1 bona fide).
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from plastsearch.errors import GrowthError
from plastsearch.growth.site import Refusal, Site
from plastsearch.models.catalog import ATTENTION_POOL_HIDDEN, POOLED, Widths
from plastsearch.models.precision import exact

HEAD_CUT = "head"
FEATURES = "features"  # below the first block: what a front end gives, which nothing learns
CLASSES = 2


class Detector(nn.Module):
    """A network that tells bona fide speech from spoofs; the score is `logits[:, 1] - logits[:, 0]`."""

    def __init__(self, features: int, pooling: str, dropout: float) -> None:
        super().__init__()
        self.checkpoint_layers = False
        self.pooling = pooling
        self.pool = build_pool(pooling, features)
        self.head_dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features * POOLED[pooling], CLASSES)

    @abstractmethod
    def stem(self, wave_BT: Tensor) -> Tensor:
        """What the first block reads."""

    @abstractmethod
    def blocks(self) -> list[tuple[str, nn.Module]]:
        """The blocks in order of depth, each with its name: `encoder.3`, `layer2.0`, `gru.1`."""

    @abstractmethod
    def frames(self, hidden: Tensor) -> Tensor:
        """The last block's output as frames [B, T, D], ready to pool."""

    @abstractmethod
    def declare_sites(self) -> Sequence[Site | Refusal]:
        """Every place whose width may change, as it is now."""

    @abstractmethod
    def plain_config(self) -> Widths:
        """Plain values from which `build.from_config` makes the same architecture."""

    @abstractmethod
    def truncate_(self, count: int) -> None:
        """Keep the first `count` blocks; a head that read another width is made anew."""

    def run_block(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """One block; a family whose blocks return more than a tensor says how."""
        output: Tensor = block(hidden)
        return output

    def run(self, hidden: Tensor, first: int, last: int | None = None) -> Tensor:
        """What stands at the cut numbered `last` (or at the top), from what stands at the one numbered `first`."""
        for _, block in self.blocks()[first:last]:
            hidden = self.step(block, hidden)
        return hidden

    def step(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """One block; with `checkpoint_layers` what it computes within is computed again in the backward pass."""
        # In train mode alone: criteria watch activations, and would see those of the second pass, too.
        if not (self.checkpoint_layers and block.training and torch.is_grad_enabled()):
            return self.run_block(block, hidden)
        output: Tensor = checkpoint(self.run_block, block, hidden, use_reentrant=False)
        return output

    def forward(self, wave_BT: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Logits in float32; with `lengths_B` (samples) only frames that overlap a clip are pooled."""
        first = self.cuts()[0]
        share_B = None if lengths_B is None else lengths_B / wave_BT.shape[1]
        return self.suffix(self.prefix(wave_BT, first), first, share_B)

    @property
    def has_front_end(self) -> bool:
        """Whether it reads features that are computed before anything learns, and can be cut there."""
        return isinstance(getattr(self, "front_end", None), nn.Module)

    def read(self, feature_BFL: Tensor) -> Tensor:
        """What the first block reads, from a front end's features."""
        shape = tuple(feature_BFL.shape)
        raise GrowthError(f"{type(self).__name__} has no front end: nothing reads features of shape {shape}")

    def prefix(self, wave_BT: Tensor, cut: str) -> Tensor:
        """What the block named `cut` reads (for 'head': the frames to pool; for 'features': what a front end gives)."""
        if cut == FEATURES and self.has_front_end:
            features: Tensor = self.get_submodule("front_end")(wave_BT)
            return features
        at = self._cut_index(cut)
        hidden = self.run(self.stem(wave_BT), 0, at)
        return self.frames(hidden) if cut == HEAD_CUT else hidden

    def suffix(self, hidden: Tensor, cut: str, share_B: Tensor | None = None) -> Tensor:
        """Logits from what `prefix` gave for the same cut; `share_B`: how much of each row is no padding."""
        if cut == FEATURES:
            hidden, cut = self.read(hidden), self.cuts()[0]
        hidden = self.run(hidden, self._cut_index(cut))
        frames_BTD = hidden if cut == HEAD_CUT else self.frames(hidden)
        return self.classify(frames_BTD, share_B)

    def classify(self, frames_BTD: Tensor, share_B: Tensor | None = None) -> Tensor:
        """Pool and classify; the head runs in float32, since scores in half precision tie.

        A head that reads K states of an encoder is given them as [B, K, T, D].
        """
        mask_BT = None
        if share_B is not None:
            frames = frames_BTD.shape[-2]
            counts_B = (share_B.to(frames_BTD.device) * frames).ceil().clamp(1, frames)
            mask_BT = torch.arange(frames, device=frames_BTD.device) < counts_B[:, None]
        with exact(frames_BTD.device):
            dtype = next(self.head.parameters()).dtype  # a grown head has parts, but no weight of its own
            pooled_BD = self.pool(frames_BTD.to(dtype), mask_BT)
            logits_BC: Tensor = self.head(self.head_dropout(pooled_BD))
        return logits_BC

    def head_modules(self) -> tuple[str, ...]:
        """Dotted prefixes of what learns in every arm alike: the classifier, and the pooling if it has parameters."""
        return ("pool", "head") if any(True for _ in self.pool.parameters()) else ("head",)

    def top_modules(self) -> tuple[str, ...]:
        """Dotted prefixes of what stands between the last block and the head."""
        return ()

    def cuts(self) -> list[str]:
        """Names of the places where the network can be cut, from the first block to the head."""
        return [name for name, _ in self.blocks()] + [HEAD_CUT]

    def cut_below(self, sites: list[str] | tuple[str, ...]) -> str:
        """The highest cut below all of these sites; with none, everything under the head is below."""
        blocks = [name for name, _ in self.blocks()]
        sites = [site for site in sites if not _inside(site, HEAD_CUT)]
        found = [i for i, block in enumerate(blocks) for site in sites if _inside(site, block)]
        lost = [site for site in sites if not any(_inside(site, block) for block in blocks)]
        if lost:
            raise GrowthError(f"no block holds the site {', '.join(lost)}; the blocks are {', '.join(blocks)}")
        return blocks[min(found)] if found else HEAD_CUT

    def layers(self) -> list[tuple[str, nn.Module]]:
        """The blocks from the bottom to the top, for methods that train the last or keep the first of them."""
        return self.blocks()

    def _cut_index(self, cut: str) -> int:
        cuts = self.cuts()
        if cut not in cuts:
            raise GrowthError(f"no cut {cut!r}; known: {', '.join(cuts)}")
        return cuts.index(cut)

    def _check_count(self, count: int) -> None:
        most = len(self.blocks())
        if not 1 <= count <= most:
            raise GrowthError(f"cannot keep the first {count} of {most} blocks; give 1 to {most}")

    def _copies(self) -> int:
        return POOLED[self.pooling]

    def _new_head_(self, features: int) -> None:
        """A head and pooling for another width, drawn on the CPU from the global generator: the same on any device."""
        weight = next(self.head.parameters())  # a grown head has parts, but no weight of its own
        device, dtype = weight.device, weight.dtype
        self.pool = build_pool(self.pooling, features).to(device, dtype)
        self.head = nn.Linear(features * self._copies(), CLASSES, dtype=dtype).to(device)


class SpectralDetector(Detector):
    """A network that reads what a front end computes, and whose config is plain values of ours."""

    family: str  # its name in a config
    own: tuple[str, ...]  # what a config says of this family beside front end and neurons

    def __init__(self, front_end: nn.Module, plain: Widths, features: int) -> None:
        super().__init__(features, plain["pooling"], plain["dropout"])
        self.front_end = front_end
        kept = ("front_end", "rate_hz", *self.own, "normalise", "bins", "deltas", "masks", "spikes")
        self._plain = cast("Widths", {key: value for key, value in plain.items() if key in kept})
        self.masks = Masks(plain.get("masks", 0))

    def stem(self, wave_BT: Tensor) -> Tensor:
        """What the first block reads of a waveform."""
        return self.read(self.front_end(wave_BT))

    def plain_config(self) -> Widths:
        """Plain values that make the same architecture."""
        return {
            "model_type": self.family,
            **self._plain,
            "pooling": self.pooling,
            "dropout": self.head_dropout.p,
            "blocks": len(self.blocks()),
        }

    def _head_reads_(self, features: int) -> None:
        """A new head where the last block has another width than the head reads."""
        if features != self.head.in_features // self._copies():
            self._new_head_(features)


def _inside(site: str, block: str) -> bool:
    return site == block or site.startswith(block + ".")


class Masks(nn.Module):
    """SpecAugment (Park 2019), in training alone: some bands of rows and some of frames are set to 0, clip by clip."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, feature_BFL: Tensor) -> Tensor:
        """The last two axes are rows and frames; widths are up to an eighth of the rows and a tenth of the frames."""
        if not self.training or not self.count:
            return feature_BFL
        rows, frames = feature_BFL.shape[-2:]
        kept_BF1 = self._kept(feature_BFL, rows, rows // 8)[:, :, None]
        kept_B1L = self._kept(feature_BFL, frames, frames // 10)[:, None]
        kept = kept_BF1 & kept_B1L
        return feature_BFL * (kept if feature_BFL.dim() == 3 else kept[:, None])

    def _kept(self, like: Tensor, size: int, widest: int) -> Tensor:
        # On the CPU, as dropout is elsewhere, so that a checkpoint brings their generator back on any device.
        width_BN = (torch.rand(len(like), self.count) * (widest + 1)).floor()
        start_BN = (torch.rand(len(like), self.count) * (size - width_BN + 1)).floor()
        at = torch.arange(size)
        masked = (at >= start_BN[..., None]) & (at < (start_BN + width_BN)[..., None])
        return ~masked.any(1).to(like.device)


class MeanPool(nn.Module):
    """The mean over frames."""

    def forward(self, frames_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Frames where the mask is False are left out."""
        if mask_BT is None:
            return frames_BTD.mean(1)
        return (frames_BTD * _weights(mask_BT, frames_BTD)).sum(1)


class MeanStdPool(nn.Module):
    """Mean and standard deviation over frames, side by side."""

    def forward(self, frames_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Frames where the mask is False are left out."""
        if mask_BT is None:
            mean_BD = frames_BTD.mean(1)
            variance_BD = (frames_BTD - mean_BD[:, None]).square().mean(1)
        else:
            weight_BT1 = _weights(mask_BT, frames_BTD)
            mean_BD = (frames_BTD * weight_BT1).sum(1)
            variance_BD = ((frames_BTD - mean_BD[:, None]).square() * weight_BT1).sum(1)
        # The root's slope is infinite at 0: a feature constant in time must not turn the gradient into NaN.
        return torch.cat([mean_BD, variance_BD.clamp_min(1e-8).sqrt()], dim=-1)


class AttentionPool(nn.Module):
    """A weighted mean over frames; a two-layer scorer says which frames count."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, ATTENTION_POOL_HIDDEN)
        self.score = nn.Linear(ATTENTION_POOL_HIDDEN, 1, bias=False)

    def forward(self, frames_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Frames where the mask is False get no weight."""
        score_BT1 = self.score(torch.tanh(self.hidden(frames_BTD)))
        if mask_BT is not None:
            score_BT1 = score_BT1.masked_fill(~mask_BT[..., None], float("-inf"))
        pooled_BD: Tensor = (frames_BTD * score_BT1.softmax(1)).sum(1)
        return pooled_BD


def build_pool(pooling: str, features: int) -> nn.Module:
    """A pooling by name."""
    if pooling == "attention":
        return AttentionPool(features)
    return {"mean": MeanPool, "mean_std": MeanStdPool}[pooling]()


def _weights(mask_BT: Tensor, like: Tensor) -> Tensor:
    weight_BT = mask_BT.to(like.dtype)
    return (weight_BT / weight_BT.sum(1, keepdim=True).clamp_min(1))[..., None]
