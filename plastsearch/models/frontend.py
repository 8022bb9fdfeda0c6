"""Front ends: waveform [B, T] → features [B, bins, frames], in batches, on the device of the waveform.

The raw waveform has no front end; the network that wants it takes [B, T] itself.
Axes: B clips, T samples, F bins, L frames.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
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
    and a clip of zeros gives finite, constant features. `normalise` says what they are set against: nothing (`none`);
    each bin's mean and deviation over the training clips (`corpus`: measured once, and kept with the weights); or the
    clip's own, each bin around 0 and the whole clip of unit variance, which leaves no trace of a linear channel.
    """

    window: Tensor
    bank: Tensor
    cosine: Tensor | None
    mean: Tensor
    deviation: Tensor

    def __init__(self, kind: str, rate_hz: int, shape: Shape, normalise: str, deltas: int = 0) -> None:
        super().__init__()
        self.kind = kind
        self.rate_hz = rate_hz
        self.shape = shape
        self.normalise = normalise
        self.deltas = deltas
        bank = _bank(kind, shape, rate_hz)
        cosine = functional.create_dct(shape.n_out, shape.bands, norm="ortho") if kind in ("lfcc", "mfcc") else None
        # Recomputed from the configuration, so no checkpoint needs to hold them.
        self.register_buffer("window", torch.hann_window(shape.window), persistent=False)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("cosine", cosine, persistent=False)
        if normalise == "corpus":
            self.register_buffer("mean", torch.zeros(self.n_bins))
            self.register_buffer("deviation", torch.ones(self.n_bins))

    @property
    def n_bins(self) -> int:
        """Bins that come out, slopes among them."""
        return self.shape.n_out * (1 + self.deltas)

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
        parts = [out_BFL]
        for _ in range(self.deltas):
            parts.append(slopes(parts[-1]))
        if self.normalise == "clip":
            return torch.cat([normalised(part) for part in parts], 1)
        out_BFL = torch.cat(parts, 1)
        if self.normalise == "corpus":
            out_BFL = (out_BFL - self.mean[:, None]) / self.deviation[:, None]
        return out_BFL

    @torch.no_grad()
    def measure_(self, waves: Iterable[Tensor]) -> None:
        """Mean and deviation of each bin over these batches of clips, from now on what features are set against."""
        self.mean.zero_()
        self.deviation.fill_(1)
        count = 0
        total_F, square_F = torch.zeros(2, self.n_bins, dtype=torch.float64, device=self.mean.device)
        for wave_BT in waves:
            value_FN = self(wave_BT).double().transpose(0, 1).flatten(1)
            count += value_FN.shape[1]
            total_F += value_FN.sum(1)
            square_F += value_FN.square().sum(1)
        mean_F = total_F / count
        self.mean.copy_(mean_F)
        # A bin that never moves (above the band of all clips) stays near 0 rather than becoming noise.
        self.deviation.copy_((square_F / count - mean_F.square()).clamp_min(0).sqrt().clamp_min(1e-3))

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


def slopes(feature_BFL: Tensor) -> Tensor:
    """How each bin changes per frame: the regression line through five frames, the ends held still."""
    held_BFL = pad(feature_BFL, (2, 2), mode="replicate")
    near, far = held_BFL[..., 3:-1] - held_BFL[..., 1:-3], held_BFL[..., 4:] - held_BFL[..., :-4]
    return (near + 2 * far) / 10


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
    normalise: str = "clip",
    deltas: int = 0,
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
    return FilterBank(kind, rate_hz, Shape(n_fft, window, hop, bands, n_out), normalise, deltas)


def _resolving(bands: int, rate_hz: int) -> int:
    """The transform size from which no mel band falls between two bins and stays empty."""
    lowest_hz = 700 * ((1 + rate_hz / 1400) ** (1 / (bands + 1)) - 1)  # width of the first band: equal steps in mel
    need = rate_hz / lowest_hz
    return 1 << (int(need) - 1).bit_length()
