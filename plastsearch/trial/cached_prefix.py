"""Which activations of a trial are kept, and how they are computed: bound, cut and crops meet the cache here."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastsearch.data.clips import ClipSet, Indices, fixed_starts
from plastsearch.data.dataset import crop_numbers
from plastsearch.growth.halving import Halving
from plastsearch.models.detector import FEATURES, HEAD_CUT, Detector
from plastsearch.store.activations import CachedActivations, PrefixOf
from plastsearch.training.feeds import KeptCrops, Reading
from plastsearch.trial.context import TrialContext
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import TrialNetwork
from plastsearch.trial.scoring import BATCH, places

# Stages after this one and other trials read the same: up to so many times a stage's own reads may be computed for it.
SHARED = 2


@dataclass(frozen=True)
class CachedPrefix:
    """Activations of the training clips at one cut, and of the search-dev clips where there was room for both."""

    train: KeptCrops
    dev: CachedActivations | None


@dataclass(frozen=True)
class CachedPart:
    """Some clips, each cut at one place: what one entry of the cache holds."""

    of: PrefixOf
    clips: ClipSet
    rows: Indices
    starts: Indices


@dataclass(frozen=True)
class ClipCost:
    """What one clip's activations take in float32, and the seconds they take to compute."""

    item_bytes: int
    clip_s: float


def cached_prefix(
    context: TrialContext, network: TrialNetwork, stage: Stage, reading: Reading, cut: str, weights: str | None
) -> CachedPrefix | None:
    """Compute or find them; None where that is switched off, not possible, or would not pay."""
    if not context.settings.cache_prefix or reading.augment is not None or reading.crops is None or weights is None:
        return None
    exact = cut == FEATURES  # which a front end computes in float32 whatever the network does
    of = PrefixOf(
        weights, cut, reading.clips.fingerprint, reading.length_samples, 1,
        "float16" if context.half_prefix and not exact else "float32",
        "bf16" if context.bf16 and not exact else "float32",
    )  # fmt: skip
    parts = parts_of(reading, stage, of)
    missing = sum(len(part.rows) for part in parts.values() if _find(context, part) is None)
    if missing > SHARED * stage.steps * reading.size:
        return None  # most of it would never be read
    where = places(context, context.search_dev)
    heard = context.search_dev.fingerprint + ("" if where.name == "head" else f", {where.name}")
    dev_clips = CachedPart(replace(of, clips=heard), context.search_dev, where.rows, where.starts)
    cost = cache(lambda: _measured_cost(context, network.module, dev_clips))
    if missing and not context.prefixes.could_hold(of, missing * cost().item_bytes):
        return None  # some of it alone would be of no use
    found: dict[int | None, CachedActivations] = {}
    passes = _passes(reading, stage)
    for turn, part in parts.items():
        kept = _keep(context, network.module, part, sum(passes.values()) if turn is None else passes[turn], cost)
        if kept is None:
            return None
        found[turn] = kept
    dev = _keep(context, network.module, dev_clips, context.config.train.evaluations, cost)
    longer = _longer(reading)
    at = np.where(longer, np.cumsum(longer), np.cumsum(~longer)) - 1
    return CachedPrefix(KeptCrops(at, longer, found), dev)


def parts_of(reading: Reading, stage: Stage, of: PrefixOf) -> dict[int | None, CachedPart]:
    """All that a stage reads, without anything twice: clips with one place under None, the others turn by turn."""
    longer = _longer(reading)
    crops = reading.crops or 1
    parts: dict[int | None, CachedPart] = {}
    rows = np.flatnonzero(~longer)
    if len(rows):
        what = replace(of, clips=f"{of.clips}, the shorter ones")
        parts[None] = CachedPart(what, reading.clips, rows, np.zeros_like(rows))
    rows = np.flatnonzero(longer)
    for turn in _passes(reading, stage) if len(rows) else ():
        starts = fixed_starts(reading.clips.lengths[rows] - of.length_samples, crop_numbers(rows, turn, crops))
        what = replace(of, clips=f"{of.clips}, the longer ones, turn {turn} of {crops}")
        parts[turn] = CachedPart(what, reading.clips, rows, starts)
    return parts


def _passes(reading: Reading, stage: Stage) -> dict[int, float]:
    """How often a stage reads the clips at each turn of their places, in epochs."""
    found: dict[int, float] = {}
    first = reading.first
    end = reading.first + stage.steps
    each = reading.per_epoch
    for epoch in range(reading.place(0)[0], reading.place(stage.steps - 1)[0] + 1):
        turn = epoch % (reading.crops or 1)
        steps = min(end, (epoch + 1) * each) - max(first, epoch * each)
        found[turn] = found.get(turn, 0.0) + steps / each
    return found


def _longer(reading: Reading) -> NDArray[np.bool_]:
    """Which clips have more than one place: those longer than what is cut."""
    return np.asarray(reading.clips.lengths > reading.length_samples)


def _find(context: TrialContext, part: CachedPart) -> tuple[PrefixOf, CachedActivations] | None:
    """What is there, in float32 where a half could not hold it."""
    for of in dict.fromkeys((part.of, replace(part.of, type="float32"))):
        found = context.prefixes.find(of)
        if found is not None:
            return of, found
    return None


def _keep(
    context: TrialContext, module: Detector, part: CachedPart, passes: float, cost: Callable[[], ClipCost]
) -> CachedActivations | None:
    """Find or make activations that will be read `passes` times; in float32 where a half cannot hold them."""
    there = _find(context, part)
    if there is not None:
        context.prefixes.note_use(*there)
        return there[1]
    try:
        made = _make(context, module, part, passes, cost())
    except OverflowError:
        part = replace(part, of=replace(part.of, type="float32"))
        made = _make(context, module, part, passes, cost())
    if made is not None:
        context.prefixes.note_use(part.of, made)
    return made


def _make(
    context: TrialContext, module: Detector, part: CachedPart, passes: float, cost: ClipCost
) -> CachedActivations | None:
    def poll() -> None:
        context.end_if_asked()
        time.sleep(0.1)

    clips = len(part.rows)
    return context.prefixes.make(
        part.of, clips, cost.item_bytes, lambda: _computed(context, module, part), poll,
        seconds=cost.clip_s * clips, passes=passes,
    )  # fmt: skip


def _measured_cost(context: TrialContext, module: Detector, part: CachedPart) -> ClipCost:
    """Measured on one batch, after a clip that warms up."""
    module.eval()
    halving = Halving()
    some = slice(min(BATCH, len(part.rows)))
    with torch.inference_mode(), torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
        item = module.prefix(_wave(context, part, slice(1)), part.of.cut)[0]
        wave_BT = _wave(context, part, some)
        began = time.perf_counter()
        prefix = halving.rows(lambda rows: module.prefix(rows, part.of.cut), wave_BT)
        prefix.flatten()[0].item()  # a GPU has finished then
    return ClipCost(item.numel() * 4, (time.perf_counter() - began) / len(wave_BT))


def _computed(context: TrialContext, module: Detector, part: CachedPart) -> Iterator[Tensor]:
    """Activations of every clip of a part; from those of a lower cut where they are kept already."""
    module.eval()
    below = _kept_below(context, module, part.of)
    halving = Halving()
    with torch.inference_mode():
        for first in range(0, len(part.rows), BATCH):
            some = slice(first, first + BATCH)
            with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
                if below is None:
                    wave_BT = _wave(context, part, some)
                    yield halving.rows(lambda rows: module.prefix(rows, part.of.cut).float(), wave_BT)
                else:
                    cut, kept = below
                    onwards = partial(_onwards, module, cut=cut, to=part.of.cut)
                    hidden = kept.read(np.arange(len(part.rows))[some]).to(context.device)
                    yield halving.rows(onwards, hidden).float()


def _wave(context: TrialContext, part: CachedPart, some: slice) -> Tensor:
    return torch.from_numpy(part.clips.cut(part.rows[some], part.starts[some], part.of.length_samples)).to(
        context.device
    )


def _kept_below(context: TrialContext, module: Detector, of: PrefixOf) -> tuple[str, CachedActivations] | None:
    """The nearest lower cut of the same weights and clips; in float32 only, or rounding would add up."""
    if of.type != "float32" or context.bf16 or of.cut == FEATURES:
        return None
    cuts = module.cuts()
    for cut in reversed(cuts[: cuts.index(of.cut)]):
        kept = context.prefixes.find(replace(of, cut=cut))
        if kept is not None:
            return cut, kept
    return None


def _onwards(module: Detector, hidden: Tensor, cut: str, to: str) -> Tensor:
    """What stands at a higher cut, from what stands at a lower one."""
    cuts = module.cuts()
    hidden = module.run(hidden, cuts.index(cut), cuts.index(to))
    return module.frames(hidden) if to == HEAD_CUT else hidden
