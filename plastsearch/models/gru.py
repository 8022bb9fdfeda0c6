"""GRNN: a stack of GRU layers on frames of a front end; its sites are the hidden units of each layer.

Each layer is an `nn.GRU` of its own, because one `nn.GRU` of many layers forces a single width on all of them.
Axes: B clips, T samples or frames, D features.
"""

from typing import Any

import torch
from torch import Tensor, nn

from plastsearch.growth.site import Site, hidden
from plastsearch.models.catalog import Widths
from plastsearch.models.detector import Detector


class GRNN(Detector):
    """Front end, normalisation of each row, GRU layers, pooling over frames."""

    def __init__(
        self,
        front_end: nn.Module,
        bins: int,
        widths: list[int],
        *,
        bidirectional: bool,
        pooling: str,
        dropout: float,
        front_end_name: str,
        rate_hz: int,
    ) -> None:
        directions = 2 if bidirectional else 1
        super().__init__(widths[-1] * directions, pooling, dropout)
        self.front_end = front_end
        self._plain: Widths = {
            "front_end": front_end_name,
            "rate_hz": rate_hz,
            "bidirectional": bidirectional,
            "hidden": list(widths),
        }
        self.norm = nn.BatchNorm1d(bins)
        inputs = [bins, *(width * directions for width in widths[:-1])]
        self.gru = nn.ModuleList(
            nn.GRU(before, width, batch_first=True, bidirectional=bidirectional)
            for before, width in zip(inputs, widths, strict=True)
        )

    def stem(self, wave_BT: Tensor) -> Tensor:
        """Frames of the front end, each row with mean 0 and variance 1 over the training clips."""
        frames_BTD: Tensor = self.norm(self.front_end(wave_BT)).transpose(1, 2)
        return frames_BTD

    def blocks(self) -> list[tuple[str, nn.Module]]:
        """`gru.0`, `gru.1`, …"""
        return [(f"gru.{i}", layer) for i, layer in enumerate(self.gru)]

    def run_block(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """The outputs of all frames; the last state is among them.

        Recurrent layers compute in the precision of their weights whatever the surrounding autocast says: on GPUs it
        would hand them to cuDNN in float16, also where bfloat16 was asked for.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            output_BTD: Tensor = block(hidden.to(self.norm.weight.dtype))[0]
        return output_BTD

    def frames(self, hidden: Tensor) -> Tensor:
        """The last layer's outputs as they are."""
        return hidden

    def declare_sites(self) -> list[Site]:
        """Hidden units of each layer, read by the next layer or by pooling and head."""
        last = len(self.gru) - 1
        top = ["head", "pool.hidden"] if self.pooling == "attention" else ["head"]
        readers = [[f"gru.{i + 1}"] for i in range(last)] + [top]
        return [hidden(self, f"gru.{i}", f"gru.{i}", read, order=i) for i, read in enumerate(readers)]

    def truncate_(self, count: int) -> None:
        """Keep the first `count` layers; the head is new if the last of them has another width."""
        self._check_count(count)
        self.gru = self.gru[:count]
        layer: Any = self.gru[-1]
        features = layer.hidden_size * (2 if layer.bidirectional else 1)
        if features != self.head.in_features // self._copies():
            self._new_head_(features)

    def plain_config(self) -> Widths:
        """Plain values that make the same architecture."""
        return {
            "model_type": "grnn",
            **self._plain,
            "pooling": self.pooling,
            "dropout": self.head_dropout.p,
            "blocks": len(self.gru),
        }
