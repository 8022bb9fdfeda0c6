"""Convolutions that read speech: an encoder's stem learns the logarithms of mel bands before anything else.

A small stem that learns labels alone throws most of a spectrum away, and no layer above can find it again. The first
convolution begins as windowed waves, of which the next one makes magnitudes; both then learn. Axes: B clips, T samples
or frames, F bands, K taps.
"""

import math

import torch
import torchaudio
from torch import Tensor, nn

from plastsearch.models.wav2vec2 import SpeechEncoder

RATE_HZ = 16_000
WINDOW, HOP = 400, 320  # what a frame of the encoder hears, and how far frames are apart
BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 60.0, 7800.0
FLOOR = 1e-6


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


def log_bands(wave_BT: Tensor) -> Tensor:
    """What is to be read, at the encoder's own frames."""
    spectrum_BFT = torch.stft(wave_BT, WINDOW, HOP, window=torch.hann_window(WINDOW), center=False, return_complex=True)
    bank = torchaudio.functional.melscale_fbanks(WINDOW // 2 + 1, 0.0, RATE_HZ / 2, BANDS, RATE_HZ)
    return (spectrum_BFT.abs().square().transpose(1, 2) @ bank + FLOOR).log()


def learn_bank_(encoder: SpeechEncoder, wave_BT: Tensor, steps: int, seed: int, batch: int = 32) -> float:
    """Train convolutions and projection so that a linear layer tells the bands; returns the last steps' error.

    The error is a share of the variance of each band. Clips of one length.
    """
    draw = torch.Generator().manual_seed(seed)
    wanted_BTF = log_bands(encoder.normalized(wave_BT))
    mean_F, deviation_F = wanted_BTF.mean((0, 1)), wanted_BTF.std((0, 1))
    tell = nn.Linear(encoder.backbone.config.hidden_size, BANDS)
    stem = [encoder.backbone.feature_extractor, encoder.backbone.feature_projection, tell]
    learning = [parameter for part in stem for parameter in part.parameters()]
    optimizer = torch.optim.AdamW(learning, weight_decay=0.0)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    errors: list[float] = []
    for _ in range(steps):
        rows = torch.randint(len(wave_BT), (batch,), generator=draw)
        # Somewhere within a hop, so that the bands are heard wherever a clip is cut.
        first = int(torch.randint(HOP, (1,), generator=draw))
        part_BT = wave_BT[rows, first:]
        aim_BTF = (log_bands(encoder.normalized(part_BT)) - mean_F) / deviation_F
        error = (tell(encoder.projected(part_BT)) - aim_BTF).square().mean()
        optimizer.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        rate.step()
        errors.append(error.item())
    return sum(errors[-100:]) / len(errors[-100:])
