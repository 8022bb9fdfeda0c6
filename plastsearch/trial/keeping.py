"""Which activations of a trial are kept, and how they are computed: bound, cut and crops meet the cache here."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from plastsearch.data.clips import ClipSet, Indices
from plastsearch.growth.halving import Halving
from plastsearch.models.detector import HEAD_CUT, Detector
from plastsearch.trial.bench import Bench
from plastsearch.trial.feeds import Reading
from plastsearch.trial.methods import Stage
from plastsearch.trial.networks import Specimen
from plastsearch.trial.prefix import KeptActivations, PrefixOf
from plastsearch.trial.scoring import BATCH


@dataclass(frozen=True)
class Kept:
    """Activations of the training and of the search-dev clips at one cut."""

    train: KeptActivations
    dev: KeptActivations


def keep_prefix(
    bench: Bench, specimen: Specimen, stage: Stage, reading: Reading, cut: str, weights: str | None
) -> Kept | None:
    """Compute or find them; None where that is switched off, not possible, or would not pay."""
    crops = reading.crops or 1
    once = crops * len(reading.clips)
    if not bench.settings.cache_prefix or reading.augment is not None or weights is None:
        return None
    of = PrefixOf(
        weights, cut, reading.clips.fingerprint, reading.length_samples, crops,
        "float16" if bench.settings.cache_half else "float32", "bf16" if bench.bf16 else "float32",
    )  # fmt: skip
    of_dev = replace(of, clips=bench.search_dev.fingerprint, crops=1)
    if stage.steps * reading.size < once and bench.prefixes.find(of) is None:
        return None  # most of it would never be read
    train = _keep(bench, specimen.module, reading.clips, of)
    dev = _keep(bench, specimen.module, bench.search_dev, of_dev) if train else None
    return Kept(train, dev) if train and dev else None


def _keep(bench: Bench, module: Detector, clips: ClipSet, of: PrefixOf) -> KeptActivations | None:
    found = bench.prefixes.find(of)
    if found is not None:
        return found
    item_bytes = _item_bytes(bench, module, clips, of)

    def poll() -> None:
        bench.end_if_asked()
        time.sleep(0.1)

    return bench.prefixes.make(of, len(clips), item_bytes, lambda: _parts(bench, module, clips, of), poll)


def _item_bytes(bench: Bench, module: Detector, clips: ClipSet, of: PrefixOf) -> int:
    module.eval()
    wave_BT = torch.from_numpy(clips.batch([0], of.length_samples)).to(bench.device)
    with torch.inference_mode():
        return module.prefix(wave_BT, of.cut)[0].numel() * 4


def _parts(bench: Bench, module: Detector, clips: ClipSet, of: PrefixOf) -> Iterator[Tensor]:
    """Activations of every crop of every clip; from those of a lower cut where they are kept already."""
    module.eval()
    below = _kept_below(bench, module, of)
    halving = Halving()
    with torch.inference_mode():
        for crop in range(of.crops):
            for first in range(0, len(clips), BATCH):
                rows = np.arange(first, min(first + BATCH, len(clips)), dtype=np.int64)
                with torch.autocast(bench.device.type, torch.bfloat16, enabled=bench.bf16):
                    if below is None:
                        wave_BT = _wave(bench, clips, rows, crop, of)
                        yield halving.rows(lambda part: module.prefix(part, of.cut).float(), wave_BT)
                    else:
                        cut, kept = below
                        onwards = partial(_onwards, module, cut=cut, to=of.cut)
                        yield halving.rows(onwards, kept.read(rows, crop).to(bench.device)).float()


def _wave(bench: Bench, clips: ClipSet, rows: Indices, crop: int, of: PrefixOf) -> Tensor:
    return torch.from_numpy(clips.batch(rows, of.length_samples, crop)).to(bench.device)


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
