"""Convolutions that read speech: an encoder's stem learns logarithms of bands before anything else, without labels.

A small stem that learns labels alone throws most of what it hears away, and no layer above can find it again. The
first convolution begins as windowed waves, of which the next one makes magnitudes; all then learn. Axes: B clips, T
samples or frames, F bands, K taps.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torchaudio
from torch import Tensor, nn

from plastsearch.models.build import from_config, save_pretrained
from plastsearch.models.catalog import Widths
from plastsearch.models.seeding import seeded
from plastsearch.models.wav2vec2 import SpeechEncoder

RATE_HZ = 16_000
FRAME = 320  # samples from one frame of an encoder to the next
LOWEST_HZ, HIGHEST_HZ = 60.0, 7800.0  # of the waves
FLOOR = 1e-6


@dataclass(frozen=True)
class Bank:
    """Bands that convolutions learn to tell, and the convolutions."""

    window: int
    hop: int  # a frame has the bands of all hops in it
    bands: int
    highest_hz: float
    mel: bool
    stem: Widths  # as a transformers config says it

    def of(self, wave_BT: Tensor) -> Tensor:
        """Logarithms of the bands at the encoder's own frames."""
        hann = torch.hann_window(self.window)
        spectrum_BFT = torch.stft(wave_BT, self.window, self.hop, window=hann, center=False, return_complex=True)
        filters = torchaudio.functional.melscale_fbanks if self.mel else torchaudio.functional.linear_fbanks
        bank = filters(self.window // 2 + 1, 0.0, self.highest_hz, self.bands, RATE_HZ)
        found_BTF = (spectrum_BFT.abs().square().transpose(1, 2) @ bank + FLOOR).log()
        hops = FRAME // self.hop
        frames = found_BTF.shape[1] // hops
        return found_BTF[:, : frames * hops].reshape(len(wave_BT), frames, hops * self.bands)


# A frame hears 25 ms, as wav2vec 2.0's, by one wide convolution instead of seven narrow ones: few channels carry a
# spectrum through one of them, and not through seven.
SPECTRUM = Bank(400, FRAME, 40, RATE_HZ / 2, True, {
    "conv_dim": [192, 64, 48], "conv_kernel": [400, 1, 1], "conv_stride": [FRAME, 1, 1],
    "conv_bias": True, "feat_extract_norm": "layer",
})  # fmt: skip
# Two bands every half millisecond, 80 numbers in a frame: vocoders change what happens within a period of the voice,
# which no spectrum of 25 ms shows. Norms over channels would take the course of loudness away.
ENVELOPES = Bank(16, 8, 2, 4000.0, False, {
    "conv_dim": [32, 16, 128, 96], "conv_kernel": [16, 1, 40, 1], "conv_stride": [8, 1, 40, 1],
    "conv_bias": True, "feat_extract_norm": "group",
})  # fmt: skip


def reading_bands(
    widths: Widths, bank: Bank, wave_BT: Tensor, folder: Path, *, steps: int, batch: int = 32, seed: int = 0
) -> float:
    """Write an encoder that has learnt bands and nothing else, for `model.from`; returns the error of its bands."""
    with seeded(seed):
        encoder = from_config({**widths, **bank.stem})
        assert isinstance(encoder, SpeechEncoder)
        waves_(encoder.backbone.feature_extractor.conv_layers[0].conv)
        error = learn_bank_(encoder, bank, wave_BT, steps, seed, batch)
        save_pretrained(encoder, folder)
    return error


def waves_(stem: nn.Conv1d) -> None:
    """Cosines and sines of each pitch, and their opposites: what GELU leaves of the four says how strong it is."""
    taps = stem.weight.shape[2]
    pitches = stem.weight.shape[0] // 4
    mel = torch.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), pitches)
    hz_F = 700 * (10 ** (mel / 2595) - 1)
    angle_FK = 2 * math.pi * hz_F[:, None] * (torch.arange(taps) - taps / 2) / RATE_HZ
    window_K = torch.hann_window(taps) / math.sqrt(taps)
    with torch.no_grad():
        stem.weight[: 4 * pitches, 0] = torch.cat([angle_FK.cos(), angle_FK.sin(), -angle_FK.cos(), -angle_FK.sin()])
        stem.weight[: 4 * pitches, 0] *= window_K


def _mel(hz: float) -> float:
    return 2595 * math.log10(1 + hz / 700)


def learn_bank_(encoder: SpeechEncoder, bank: Bank, wave_BT: Tensor, steps: int, seed: int, batch: int) -> float:
    """Train convolutions and projection so that a linear layer tells the bands; returns the last steps' error.

    The error is a share of the variance of each band. Clips of one length.
    """
    draw = torch.Generator().manual_seed(seed)
    wanted_BTF = bank.of(encoder.normalized(wave_BT))
    mean_F, deviation_F = wanted_BTF.mean((0, 1)), wanted_BTF.std((0, 1))
    tell = nn.Linear(encoder.backbone.config.hidden_size, wanted_BTF.shape[2])
    stem = [encoder.backbone.feature_extractor, encoder.backbone.feature_projection, tell]
    learning = [parameter for part in stem for parameter in part.parameters()]
    optimizer = torch.optim.AdamW(learning, weight_decay=0.0)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    errors: list[float] = []
    for _ in range(steps):
        rows = torch.randint(len(wave_BT), (batch,), generator=draw)
        # Somewhere within a frame, so that the bands are heard wherever a clip is cut.
        first = int(torch.randint(FRAME, (1,), generator=draw))
        part_BT = wave_BT[rows, first:]
        aim_BTF = (bank.of(encoder.normalized(part_BT)) - mean_F) / deviation_F
        error = (tell(encoder.projected(part_BT)) - aim_BTF).square().mean()
        optimizer.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        rate.step()
        errors.append(error.item())
    return sum(errors[-100:]) / len(errors[-100:])
