"""Training-time changes to waveforms, by name, for whole batches: RawBoost, masks, channels, codecs, noise and rooms.

Everything acts on the waveform, before any front end, so one list serves raw-waveform and spectral networks alike.
What a clip undergoes follows from its own seed: batch size, order and worker count change nothing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from plastsearch.augment import channels
from plastsearch.augment.draws import Draws
from plastsearch.augment.names import place, split_name
from plastsearch.augment.rawboost import ALGORITHMS, rawboost
from plastsearch.augment.recordings import AddedNoise, AddedRoom

Augment = Callable[[Tensor, Tensor], Tensor]
Change = Callable[[Tensor, Draws, int], Tensor]

CHANGES: dict[str, Change] = {
    **{f"rawboost{k}": partial(rawboost, algorithm=k) for k in ALGORITHMS},
    "spec_masks": channels.spec_masks,
    "time_masks": channels.time_masks,
    "band_masks": channels.band_masks,
    "band_limit": channels.band_limit,
    "codec": channels.codec,
    "lossy_codec": channels.lossy_codec,
}
FOLDERS: dict[str, Callable[[Path, int], Change]] = {"noise": AddedNoise, "reverb": AddedRoom}


class Augmentation:
    """The named changes one after the other, each with its own stream of the clip's seed."""

    def __init__(self, changes: Sequence[Change], rate_hz: int) -> None:
        self.changes, self.rate_hz = tuple(changes), rate_hz

    @torch.no_grad()
    def __call__(self, wave_BT: Tensor, seeds_B: Tensor) -> Tensor:
        """A new batch as long as the old one, float32, on the same device; the old one is left as it is."""
        wave_BT = wave_BT.float()
        for stream, change in enumerate(self.changes):
            wave_BT = change(wave_BT, Draws(seeds_B, stream, wave_BT.device), self.rate_hz)
        return wave_BT


def build_augment(names: Sequence[str], rate_hz: int, root: Path | None = None) -> Augmentation:
    """Changes by name, in order; `noise:FOLDER` and `reverb:FOLDER` take recordings, relative to `root`."""
    return Augmentation([_change(name, rate_hz, root) for name in names], rate_hz)


def _change(name: str, rate_hz: int, root: Path | None) -> Change:
    kind, folder = split_name(name)
    return FOLDERS[kind](place(folder, root), rate_hz) if folder else CHANGES[kind]
