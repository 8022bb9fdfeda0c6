"""Front ends: waveform [B, T] → features [B, bins, frames], in batches, on the device of the waveform.

The raw waveform has no front end; the network that wants it takes [B, T] itself.
Axes: B clips, T samples, F bins, L frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchaudio import functional

from plastsearch.errors import PlastsearchError

KINDS = ("log_mel", "linear", "lfcc", "mfcc")
FLOOR = 1e-10  # power below which a band counts as silent: -100 dB re the utterance's mean power


@dataclass(frozen=True)
class Shape:
    """Resolution of a front end; `n_out` is the number of bins that come out."""

    n_fft: int
    window: int
    hop: int
    bands: int
    n_out: int


class FilterBank(nn.Module):
    """Power spectrum → triangular bands → decibels, optionally → cosine transform, then normalisation.

    Loudness is divided out before the logarithm, so that the floor sits at the same place for quiet and loud clips
    and a clip of zeros gives finite, constant features. With `normalise` each bin of each clip has mean 0 and the
    whole clip unit variance, which leaves no trace of level or of a linear channel.
    """

    window: Tensor
    bank: Tensor
    cosine: Tensor | None

    def __init__(self, kind: str, rate_hz: int, shape: Shape, normalise: bool) -> None:
        super().__init__()
        self.kind = kind
        self.rate_hz = rate_hz
        self.shape = shape
        self.normalise = normalise
        bank = _bank(kind, shape, rate_hz)
        cosine = functional.create_dct(shape.n_out, shape.bands, norm="ortho") if kind in ("lfcc", "mfcc") else None
        # Recomputed from the configuration, so no checkpoint needs to hold them.
        self.register_buffer("window", torch.hann_window(shape.window), persistent=False)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("cosine", cosine, persistent=False)

    @property
    def n_bins(self) -> int:
        """Bins that come out."""
        return self.shape.n_out

    def frames(self, n_samples: int) -> int:
        """Frames that come out for a waveform of this length."""
        return n_samples // self.shape.hop + 1

    @torch.no_grad()
    def forward(self, wave_BT: Tensor) -> Tensor:
        """Features in float32 whatever the surrounding autocast says: power spectra overflow half precision."""
        with torch.autocast(wave_BT.device.type, enabled=False):
            return self._features(wave_BT.float())

    def _features(self, wave_BT: Tensor) -> Tensor:
        power_BFL = self._power(wave_BT)
        band_BFL = torch.matmul(self.bank.T, power_BFL)
        loudness_B11 = band_BFL.mean(dim=(1, 2), keepdim=True)
        out_BFL = 10 * torch.log10(band_BFL / loudness_B11.clamp_min(torch.finfo(torch.float32).tiny) + FLOOR)
        if self.cosine is not None:
            out_BFL = torch.matmul(self.cosine.T, out_BFL)
        return normalised(out_BFL) if self.normalise else out_BFL

    def _power(self, wave_BT: Tensor) -> Tensor:
        shape = self.shape
        if wave_BT.shape[-1] <= shape.n_fft // 2:
            raise PlastsearchError(
                f"front end {self.kind!r} needs more than {shape.n_fft // 2} samples, got {wave_BT.shape[-1]}"
            )
        spectrum = torch.stft(
            wave_BT, shape.n_fft, shape.hop, shape.window, self.window,
            center=True, pad_mode="reflect", return_complex=True,
        )  # fmt: skip
        return torch.view_as_real(spectrum).square().sum(-1)


def normalised(feature_BFL: Tensor) -> Tensor:
    """Each bin of each clip around zero, each clip of unit variance; a constant clip becomes zeros."""
    centred_BFL = feature_BFL - feature_BFL.mean(dim=2, keepdim=True)
    scale_B11 = centred_BFL.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return centred_BFL / scale_B11.clamp_min(1e-3)


def _bank(kind: str, shape: Shape, rate_hz: int) -> Tensor:
    bins = shape.n_fft // 2 + 1
    if kind in ("log_mel", "mfcc"):
        bank = functional.melscale_fbanks(bins, 0.0, rate_hz / 2, shape.bands, rate_hz, norm=None, mel_scale="htk")
    else:
        bank = functional.linear_fbanks(bins, 0.0, rate_hz / 2, shape.bands, rate_hz)
    return torch.as_tensor(bank)


def build_front_end(
    kind: str,
    rate_hz: int = 16_000,
    *,
    bins: int | None = None,
    window_s: float = 0.025,
    hop_s: float = 0.010,
    normalise: bool = True,
) -> FilterBank:
    """A front end by name; `bins` defaults to 64 bands, or to 40 of 64 coefficients after a cosine transform."""
    if kind not in KINDS:
        raise PlastsearchError(f"unknown front end {kind!r}; known: waveform (no front end), {', '.join(KINDS)}")
    window, hop = round(window_s * rate_hz), round(hop_s * rate_hz)
    cepstral = kind in ("lfcc", "mfcc")
    n_out = bins or (40 if cepstral else 64)
    bands = max(64, n_out) if cepstral else n_out
    n_fft = 1 << (window - 1).bit_length()
    if kind in ("log_mel", "mfcc"):
        n_fft = max(n_fft, _resolving(bands, rate_hz))
    if hop < 1 or bands > n_fft // 2:
        raise PlastsearchError(f"front end {kind!r}: {bands} bands do not fit a window of {window} samples")
    return FilterBank(kind, rate_hz, Shape(n_fft, window, hop, bands, n_out), normalise)


def _resolving(bands: int, rate_hz: int) -> int:
    """The transform size from which no mel band falls between two bins and stays empty."""
    lowest_hz = 700 * ((1 + rate_hz / 1400) ** (1 / (bands + 1)) - 1)  # width of the first band: equal steps in mel
    need = rate_hz / lowest_hz
    return 1 << (int(need) - 1).bit_length()
