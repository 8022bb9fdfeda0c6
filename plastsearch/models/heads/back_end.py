"""What stands between an encoder and the classifier: which layers are read, and the network that makes them one row.

Pure PyTorch, since exported models carry these files in their own. Axes: B clips, K states of an encoder (what its
first layer reads, then what each layer gives), T frames, D features, E features of a clip.
"""

import torch
from torch import Tensor, nn


class LayerMix(nn.Module):
    """A weighted mean of states; the weights are a softmax over what is learnt, and alike at first."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(states))

    def forward(self, states_BKTD: Tensor) -> Tensor:
        """Frames, [B, T, D]."""
        mixed_BTD: Tensor = (states_BKTD * self.weights.softmax(0)[:, None, None]).sum(1)
        return mixed_BTD

    def truncate_(self, states: int) -> None:
        """Keep the weights of the first states; among each other these stay as they were."""
        self.weights = nn.Parameter(self.weights.detach()[:states].clone())


class BackEnd(nn.Module):
    """A head's network, behind a mix of layers where it reads one row of frames and is to hear all of them."""

    def __init__(self, net: nn.Module, mix: LayerMix | None) -> None:
        super().__init__()
        self.mix = mix
        self.net = net

    def forward(self, frames: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """One row for each clip, [B, E], from [B, T, D] or [B, K, T, D]; frames where the mask is False are cut off."""
        if mask_BT is None:
            return self._whole(frames)
        # Clip by clip: graphs and convolutions over time would hear padding, however its frames are weighted later.
        counts = mask_BT.sum(1).tolist()
        return torch.cat([self._whole(frames[k : k + 1, ..., :count, :]) for k, count in enumerate(counts)])

    def _whole(self, frames: Tensor) -> Tensor:
        lacking = int(getattr(self.net, "least", 1)) - frames.shape[-2]
        # A clip of a few hundredths of a second: its last frame goes on. An exported graph cannot ask.
        if not torch.compiler.is_exporting() and lacking > 0:
            frames = torch.cat([frames, *[frames[..., -1:, :]] * lacking], -2)
        row_BE: Tensor = self.net(frames if self.mix is None else self.mix(frames))
        return row_BE

    def truncate_(self, states: int) -> None:
        """Go on with the first states of an encoder that has lost its upper layers."""
        for part in self.modules():
            if isinstance(part, LayerMix):
                part.truncate_(states)
