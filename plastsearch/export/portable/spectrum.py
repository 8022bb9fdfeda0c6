"""Front ends: waveform [B clips, T samples] → features [B, F bins, L frames]."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchaudio import functional

FLOOR = 1e-10  # power below which a band counts as silent: -100 dB re the clip's mean power
CEPSTRAL = ("lfcc", "mfcc")


class FrontEnd(nn.Module):
    """Power spectrum → triangular bands → decibels re the clip's loudness → cosine transform, if cepstral → norm."""

    window: Tensor
    bank: Tensor
    cosine: Tensor | None
    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        self.n_fft, self.hop, self.length = shape["n_fft"], shape["hop"], shape["window"]
        rate_hz, bands, rows = shape["rate_hz"], shape["bands"], shape["n_fft"] // 2 + 1
        if shape["kind"] in ("log_mel", "mfcc"):
            bank = functional.melscale_fbanks(rows, 0.0, rate_hz / 2, bands, rate_hz, norm=None, mel_scale="htk")
        else:
            bank = functional.linear_fbanks(rows, 0.0, rate_hz / 2, bands, rate_hz)
        cosine = functional.create_dct(shape["n_out"], bands, norm="ortho") if shape["kind"] in CEPSTRAL else None
        self.register_buffer("window", torch.hann_window(self.length), persistent=False)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("cosine", cosine, persistent=False)
        self.normalise, self.deltas = str(shape["normalise"]), int(shape["deltas"])
        if self.normalise == "corpus":  # over the training clips; among the weights
            self.register_buffer("mean", torch.zeros(shape["n_out"] * (1 + self.deltas)))
            self.register_buffer("deviation", torch.ones(shape["n_out"] * (1 + self.deltas)))

    def forward(self, wave_BT: Tensor) -> Tensor:
        """Features of each clip."""
        spectrum = torch.stft(
            wave_BT, self.n_fft, self.hop, self.length, self.window, pad_mode="reflect", return_complex=True
        )
        band_BFL = torch.matmul(self.bank.T, torch.view_as_real(spectrum).square().sum(-1))
        loudness_B11 = band_BFL.mean(dim=(1, 2), keepdim=True)
        out_BFL = 10 * torch.log10(band_BFL / loudness_B11.clamp_min(torch.finfo(torch.float32).tiny) + FLOOR)
        if self.cosine is not None:
            out_BFL = torch.matmul(self.cosine.T, out_BFL)
        parts = [out_BFL]
        for _ in range(self.deltas):
            held_BFL = pad(parts[-1], (2, 2), mode="replicate")
            near, far = held_BFL[..., 3:-1] - held_BFL[..., 1:-3], held_BFL[..., 4:] - held_BFL[..., :-4]
            parts.append((near + 2 * far) / 10)
        if self.normalise == "clip":
            return torch.cat([by_clip(part) for part in parts], 1)
        out_BFL = torch.cat(parts, 1)
        return (out_BFL - self.mean[:, None]) / self.deviation[:, None] if self.normalise == "corpus" else out_BFL


def by_clip(feature_BFL: Tensor) -> Tensor:
    """Each bin of each clip around zero, each clip of unit variance."""
    centred_BFL = feature_BFL - feature_BFL.mean(dim=2, keepdim=True)
    scale_B11 = centred_BFL.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return centred_BFL / scale_B11.clamp_min(1e-3)
