"""Training-time changes to waveforms, by name, for whole batches: RawBoost, masks, channels, codecs, noise and rooms.

Everything acts on the waveform, before any front end, so one list serves raw-waveform and spectral networks alike.
What a clip undergoes follows from its own seed: batch size, order and worker count change nothing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plastsearch.audio import BadAudioError, decode
from plastsearch.augment import channels
from plastsearch.augment.batches import Draws
from plastsearch.augment.names import place, recordings, split_name
from plastsearch.augment.rawboost import ALGORITHMS, rawboost
from plastsearch.errors import DataError

NOISE_SNR_DB = (0.0, 20.0)
NOISE_SHARE = REVERB_SHARE = 0.6  # of the clips
LONGEST_RESPONSE_S = 1.0
LIMIT_S = 3600.0  # of audio kept in memory, 230 MB at 16 kHz


class AddedNoise:
    """Recordings from a folder at 0-20 dB below the clip."""

    def __init__(self, folder: Path, rate_hz: int) -> None:
        self.noises = read_folder(folder, rate_hz)

    def __call__(self, wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
        """Six clips in ten get one recording from a random place on, repeated if it is short."""
        del rate_hz  # the recordings were resampled when read
        noise_BT = self._cut(draws, wave_BT.shape[1], wave_BT.device)
        snr_db_B1, chosen_B = draws.uniform(*NOISE_SNR_DB, 1), draws.chance(NOISE_SHARE)
        scale_B1 = _rms(wave_BT) / _rms(noise_BT).clamp_min(1e-9) * 10 ** (-snr_db_B1 / 20)
        return torch.where(chosen_B[:, None], wave_BT + noise_BT * scale_B1, wave_BT)

    def _cut(self, draws: Draws, n_samples: int, device: torch.device) -> Tensor:
        which, place = draws.integers(0, len(self.noises), 1), draws.uniform(0, 1, 1)
        pieces = []
        for k, share in zip(which.flatten().tolist(), place.flatten().tolist(), strict=True):
            noise = self.noises[k]
            start = int(share * max(1, len(noise) - n_samples))
            pieces.append(np.resize(noise[start:], n_samples))
        return torch.from_numpy(np.stack(pieces)).to(device)


class AddedRoom:
    """Impulse responses from a folder, aligned at their peak so that clips do not shift."""

    def __init__(self, folder: Path, rate_hz: int) -> None:
        longest = int(LONGEST_RESPONSE_S * rate_hz)
        responses = []
        for wave in read_folder(folder, rate_hz):
            cut = wave[int(np.abs(wave).argmax()) :][:longest]
            responses.append(np.pad(cut / max(float(np.sqrt((cut**2).sum())), 1e-9), (0, longest - len(cut))))
        self.response_KT = torch.from_numpy(np.stack(responses).astype(np.float32))

    def __call__(self, wave_BT: Tensor, draws: Draws, rate_hz: int) -> Tensor:
        """Six clips in ten are heard in one of the rooms, at their old level."""
        del rate_hz
        which_B, chosen_B = draws.integers(0, len(self.response_KT), 1)[:, 0], draws.chance(REVERB_SHARE)
        response_BT = self.response_KT.to(wave_BT.device)[which_B]
        size = _fast_size(wave_BT.shape[1] + response_BT.shape[1])
        spectrum = torch.fft.rfft(wave_BT, n=size) * torch.fft.rfft(response_BT, n=size)
        heard_BT = torch.fft.irfft(spectrum, n=size)[:, : wave_BT.shape[1]]
        heard_BT = heard_BT * (_rms(wave_BT) / _rms(heard_BT).clamp_min(1e-9))
        return torch.where(chosen_B[:, None], heard_BT, wave_BT)


def read_folder(folder: Path, rate_hz: int) -> list[NDArray[np.float32]]:
    """Every recording below a folder, in order of names, up to one hour of audio."""
    waves: list[NDArray[np.float32]] = []
    total_s = 0.0
    for path in recordings(folder):
        try:
            samples, scale = decode(path, rate_hz, "float32")
        except BadAudioError as error:
            raise DataError(f"{path}: {error}; mend or remove it, augmentation uses every file of its folder") from None
        waves.append((samples * np.float32(scale)).astype(np.float32))
        total_s += len(samples) / rate_hz
        if total_s > LIMIT_S:
            raise DataError(f"{folder}: more than {LIMIT_S / 3600:g} hour of recordings; point to a smaller selection")
    return waves


def _rms(wave_BT: Tensor) -> Tensor:
    return wave_BT.square().mean(dim=1, keepdim=True).sqrt()


def _fast_size(n: int) -> int:
    """The next length made of small primes, where transforms are fast."""
    best = 1 << (n - 1).bit_length()
    return min((factor << k for factor in (1, 3, 5, 9, 15) for k in range(24) if n <= factor << k), default=best)


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
        self.changes = tuple(changes)
        self.rate_hz = rate_hz

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
