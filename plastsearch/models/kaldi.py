"""Log filter banks as Kaldi computes them, two frames side by side: what W2V-BERT 2.0 was trained on.

Axes: B clips, T samples, L frames, N samples of a window, F frequency bins, M bands.
"""

import torch
from torch import Tensor, nn

from plastsearch.models.precision import exact

RATE_HZ = 16_000
WINDOW, HOP, N_FFT = 400, 160, 512  # 25 ms every 10 ms
BANDS = 80
STRIDE = 2  # frames side by side
LOWEST_HZ = 20.0
EMPHASIS = 0.97
FULL_SCALE = 2.0**15  # its waves were 16-bit numbers
FLOOR = torch.finfo(torch.float32).eps


class StackedBank(nn.Module):
    """Waves between -1 and 1 to frames of 160 numbers, 50 a second."""

    window: Tensor
    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Povey's window: a Hann window, ends at zero, to a power that widens it.
        self.register_buffer("window", torch.hann_window(WINDOW, periodic=False) ** 0.85, persistent=False)
        self.register_buffer("bank", _triangles(), persistent=False)

    @torch.no_grad()
    def forward(self, wave_BT: Tensor) -> Tensor:
        """Bands with mean 0 and variance 1 in each clip; in float32, for powers overflow half precision."""
        with exact(wave_BT.device):
            frames_BLN = (wave_BT.to(self.window.dtype) * FULL_SCALE).unfold(1, WINDOW, HOP)
            frames_BLN = frames_BLN - frames_BLN.mean(2, keepdim=True)
            before_BLN = torch.cat([frames_BLN[..., :1], frames_BLN[..., :-1]], 2)
            spectrum_BLF = torch.fft.rfft((frames_BLN - EMPHASIS * before_BLN) * self.window, N_FFT)
            power_BLF = torch.view_as_real(spectrum_BLF).square().sum(-1)
            bands_BLM = (power_BLF @ self.bank).clamp_min(FLOOR).log()
            if bands_BLM.shape[1] < STRIDE:  # a clip of one window: it stands twice
                bands_BLM = bands_BLM.repeat(1, STRIDE, 1)
            centred_BLM = bands_BLM - bands_BLM.mean(1, keepdim=True)
            scaled_BLM = centred_BLM / (bands_BLM.var(1, keepdim=True) + 1e-7).sqrt()
            whole = scaled_BLM.shape[1] // STRIDE
            return scaled_BLM[:, : whole * STRIDE].reshape(wave_BT.shape[0], whole, STRIDE * BANDS)


def _triangles() -> Tensor:
    """Weights of each frequency bin in each band, [F, M]: triangles over mel, which overlap by halves."""
    top = _mel(torch.tensor(RATE_HZ / 2, dtype=torch.float64))
    low = _mel(torch.tensor(LOWEST_HZ, dtype=torch.float64))
    edges_M = low + (top - low) * torch.arange(BANDS + 2, dtype=torch.float64) / (BANDS + 1)
    bins_F1 = _mel(torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * RATE_HZ / N_FFT)[:, None]
    left_M, centre_M, right_M = edges_M[:-2], edges_M[1:-1], edges_M[2:]
    rising_FM = (bins_F1 - left_M) / (centre_M - left_M)
    falling_FM = (right_M - bins_F1) / (right_M - centre_M)
    return torch.minimum(rising_FM, falling_FM).clamp_min(0).float()


def _mel(hz: Tensor) -> Tensor:
    return 1127 * torch.log1p(hz / 700)
