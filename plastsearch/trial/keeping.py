"""Which activations of a trial are kept, and how they are computed: bound, cut and crops meet the cache here."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plastsearch.data.clips import ClipSet, Indices, fixed_starts
from plastsearch.data.dataset import crop_numbers
from plastsearch.growth.halving import Halving
from plastsearch.models.detector import HEAD_CUT, Detector
from plastsearch.trial.bench import Bench
from plastsearch.trial.feeds import KeptCrops, Reading
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import Specimen
from plastsearch.trial.prefix import KeptActivations, PrefixOf
from plastsearch.trial.scoring import BATCH

# Stages after this one and other trials read the same: up to so many times a stage's own reads may be computed for it.
SHARED = 2


@dataclass(frozen=True)
class Kept:
    """Activations of the training clips at one cut, and of the search-dev clips where there was room for both."""

    train: KeptCrops
    dev: KeptActivations | None


@dataclass(frozen=True)
class Part:
    """Some clips, each cut at one place: what one entry of the cache holds."""

    of: PrefixOf
    clips: ClipSet
    rows: Indices
    starts: Indices


def keep_prefix(
    bench: Bench, specimen: Specimen, stage: Stage, reading: Reading, cut: str, weights: str | None
) -> Kept | None:
    """Compute or find them; None where that is switched off, not possible, or would not pay."""
    if not bench.settings.cache_prefix or reading.augment is not None or reading.crops is None or weights is None:
        return None
    of = PrefixOf(
        weights, cut, reading.clips.fingerprint, reading.length_samples, 1,
        "float16" if half(bench, specimen.module) else "float32", "bf16" if bench.bf16 else "float32",
    )  # fmt: skip
    parts = parts_of(reading, stage, of)
    missing = sum(len(part.rows) for part in parts.values() if bench.prefixes.find(part.of) is None)
    if missing > SHARED * stage.steps * reading.size:
        return None  # most of it would never be read
    found: dict[int | None, KeptActivations] = {}
    passes = stage.steps * reading.size / len(reading.clips)
    turns = sum(turn is not None for turn in parts)
    for turn, part in parts.items():
        kept = _keep(bench, specimen.module, part, passes if turn is None else passes / turns)
        if kept is None:
            return None
        found[turn] = kept
    every = np.arange(len(bench.search_dev), dtype=np.int64)
    heads = Part(replace(of, clips=bench.search_dev.fingerprint), bench.search_dev, every, np.zeros_like(every))
    dev = _keep(bench, specimen.module, heads, bench.config.train.evaluations)
    longer = _longer(reading)
    at = np.where(longer, np.cumsum(longer), np.cumsum(~longer)) - 1
    return Kept(KeptCrops(at, longer, found), dev)


def half(bench: Bench, module: Detector) -> bool:
    """Whether activations are kept in float16: as asked; else where they were computed in bf16, which is coarser."""
    asked = bench.settings.cache_half
    if asked is not None:
        return asked
    # Recurrent layers compute in float32 whatever is asked, so there a half would lose what is exact.
    return bench.bf16 and not any(isinstance(part, nn.RNNBase) for part in module.modules())


def parts_of(reading: Reading, stage: Stage, of: PrefixOf) -> dict[int | None, Part]:
    """All that a stage reads, without anything twice: clips with one place under None, the others turn by turn."""
    longer, crops = _longer(reading), reading.crops or 1
    parts: dict[int | None, Part] = {}
    rows = np.flatnonzero(~longer)
    if len(rows):
        what = replace(of, clips=f"{of.clips}, the shorter ones")
        parts[None] = Part(what, reading.clips, rows, np.zeros_like(rows))
    rows = np.flatnonzero(longer)
    epochs = range(reading.place(0)[0], reading.place(stage.steps - 1)[0] + 1) if len(rows) else ()
    for turn in {epoch % crops: None for epoch in epochs}:
        starts = fixed_starts(reading.clips.lengths[rows] - of.length_samples, crop_numbers(rows, turn, crops))
        what = replace(of, clips=f"{of.clips}, the longer ones, turn {turn} of {crops}")
        parts[turn] = Part(what, reading.clips, rows, starts)
    return parts


def _longer(reading: Reading) -> NDArray[np.bool_]:
    """Which clips have more than one place: those longer than what is cut."""
    return np.asarray(reading.clips.lengths > reading.length_samples)


def _keep(bench: Bench, module: Detector, part: Part, passes: float) -> KeptActivations | None:
    """Find or make activations that will be read `passes` times; in float32 where a half cannot hold them."""
    full = replace(part, of=replace(part.of, type="float32"))
    for one in (part,) if part.of == full.of else (part, full):
        found = bench.prefixes.find(one.of)
        if found is not None:
            bench.prefixes.note_use(one.of, found)
            return found
    try:
        made = _make(bench, module, part, passes)
    except OverflowError:
        part, made = full, _make(bench, module, full, passes)
    if made is not None:
        bench.prefixes.note_use(part.of, made)
    return made


def _make(bench: Bench, module: Detector, part: Part, passes: float) -> KeptActivations | None:
    item_bytes, clip_s = _price(bench, module, part)

    def poll() -> None:
        bench.end_if_asked()
        time.sleep(0.1)

    clips = len(part.rows)
    return bench.prefixes.make(
        part.of, clips, item_bytes, lambda: _computed(bench, module, part), poll, seconds=clip_s * clips, passes=passes
    )


def _price(bench: Bench, module: Detector, part: Part) -> tuple[int, float]:
    """What one clip takes in float32, and the seconds it takes to compute, which the first of two batches warms up."""
    module.eval()
    halving, some = Halving(), slice(min(BATCH, len(part.rows)))
    with torch.inference_mode(), torch.autocast(bench.device.type, torch.bfloat16, enabled=bench.bf16):
        item = module.prefix(_wave(bench, part, slice(1)), part.of.cut)[0]
        wave_BT = _wave(bench, part, some)
        began = time.perf_counter()
        prefix = halving.rows(lambda rows: module.prefix(rows, part.of.cut), wave_BT)
        prefix.flatten()[0].item()  # a GPU has finished then
    return item.numel() * 4, (time.perf_counter() - began) / len(wave_BT)


def _computed(bench: Bench, module: Detector, part: Part) -> Iterator[Tensor]:
    """Activations of every clip of a part; from those of a lower cut where they are kept already."""
    module.eval()
    below = _kept_below(bench, module, part.of)
    halving = Halving()
    with torch.inference_mode():
        for first in range(0, len(part.rows), BATCH):
            some = slice(first, first + BATCH)
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=bench.bf16):
                if below is None:
                    wave_BT = _wave(bench, part, some)
                    yield halving.rows(lambda rows: module.prefix(rows, part.of.cut).float(), wave_BT)
                else:
                    cut, kept = below
                    onwards = partial(_onwards, module, cut=cut, to=part.of.cut)
                    hidden = kept.read(np.arange(len(part.rows))[some]).to(bench.device)
                    yield halving.rows(onwards, hidden).float()


def _wave(bench: Bench, part: Part, some: slice) -> Tensor:
    return torch.from_numpy(part.clips.cut(part.rows[some], part.starts[some], part.of.length_samples)).to(bench.device)


def _kept_below(bench: Bench, module: Detector, of: PrefixOf) -> tuple[str, KeptActivations] | None:
    """The nearest lower cut of the same weights and clips; in float32 only, or rounding would add up."""
    if of.type != "float32" or bench.bf16:
        return None
    cuts = module.cuts()
    for cut in reversed(cuts[: cuts.index(of.cut)]):
        kept = bench.prefixes.find(replace(of, cut=cut))
        if kept is not None:
            return cut, kept
    return None


def _onwards(module: Detector, hidden: Tensor, cut: str, to: str) -> Tensor:
    """From one cut to a higher one."""
    cuts = module.cuts()
    for _, block in module.blocks()[cuts.index(cut) : cuts.index(to)]:
        hidden = module.run_block(block, hidden)
    return module.frames(hidden) if to == HEAD_CUT else hidden
